"""A stand-in of EC2's instance metadata service on loopback, that speaks version 2 only (EC2 user guide: "Use IMDSv2").

with serving() as service:
    service.address                          host and port
    service.pages["meta-data/tags/instance"] = "Name"
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DOCUMENT = {
    "instanceId": "i-0123456789abcdef0",
    "instanceType": "m7g.large",
    "availabilityZone": "eu-central-1a",
    "region": "eu-central-1",
    "privateIp": "10.0.0.7",
}


class Service(ThreadingHTTPServer):
    """Holds `pages` by path below /latest/; while it `hangs` it takes two seconds for each answer."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages = {"dynamic/instance-identity/document": json.dumps(DOCUMENT)}
        self.token_status = 200
        self.hangs = threading.Event()
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        """Where it listens: host and port."""
        return f"127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """The service's side of one connection."""

    server: Service

    def do_PUT(self) -> None:
        """Give a token out."""
        asked = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds") is not None
        self._say(self.server.token_status if asked and self.path == "/latest/api/token" else 400, "secret")

    def do_GET(self) -> None:
        """Show a page to who has the token."""
        page = self.server.pages.get(self.path.removeprefix("/latest/"))
        if self.headers.get("X-aws-ec2-metadata-token") != "secret":
            self._say(401, "")
        else:
            self._say(404 if page is None else 200, page or "")

    def _say(self, status: int, text: str) -> None:
        self.server.asked.append(self.path)
        if self.server.hangs.is_set():
            threading.Event().wait(2)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving() -> Iterator[Service]:
    """Run the service for a block."""
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
