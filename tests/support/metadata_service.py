"""A fake EC2 instance metadata service on the loopback interface, version 2 only (EC2 user guide: "Use IMDSv2").

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
    """Has `pages` by path below /latest/. While `hangs` is set, answers are delayed by 60 s."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages = {"dynamic/instance-identity/document": json.dumps(DOCUMENT)}
        self.token_status = 200
        self.hangs = threading.Event()
        self.stopping = threading.Event()
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        """The host and port."""
        return f"127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """The server side of one connection."""

    server: Service

    def do_PUT(self) -> None:
        """Return a session token."""
        asked = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds") is not None
        self._reply(self.server.token_status if asked and self.path == "/latest/api/token" else 400, "secret")

    def do_GET(self) -> None:
        """Return a page to a client with the token."""
        page = self.server.pages.get(self.path.removeprefix("/latest/"))
        if self.headers.get("X-aws-ec2-metadata-token") != "secret":
            self._reply(401, "")
        else:
            self._reply(404 if page is None else 200, page or "")

    def _reply(self, status: int, text: str) -> None:
        self.server.asked.append(self.path)
        if self.server.hangs.is_set():
            self.server.stopping.wait(60)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Do not log requests."""


@contextmanager
def serving() -> Iterator[Service]:
    """Run the service for a block."""
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.stopping.set()
            server.shutdown()
            thread.join()
