"""Serve the targets of Prometheus over HTTP: `crpc inventory export --format prometheus-sd --listen ADDRESS:PORT`.

    GET /targets ─► at most one read of the registry in FRESH seconds ─┬─► 200, application/json
                                                                       └─► 503: Prometheus keeps its last targets

Each connection has one request, in a thread of its own, of which there are at most CONNECTIONS.
"""

from __future__ import annotations

import argparse
import ipaddress
import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from collective.errors import CollectiveError, UsageError
from collective.log_limiter import LogLimiter

CONNECTIONS = 16  # at a time; further ones are closed without an answer
SECONDS = 10.0  # that a client has to send each part of its request, and to take each part of the answer
LONGEST = 30.0  # seconds after which a connection is closed, whatever it does: slow clients would keep others out
FRESH = 10.0  # seconds for which the targets are answered without a read of the registry
_LOG_PERIOD = 300.0  # seconds between lines about targets that cannot be read
_PATH = "/targets"
_ADDRESS = re.compile(r"(?:\[(?P<ipv6>[0-9a-fA-F:.]+)\]:|(?P<ipv4>[0-9.]+|localhost):|:)?(?P<port>[0-9]{1,5})")


class TargetsNow:
    """The text that `read` returns, read again when it is older than FRESH seconds; `clock` returns seconds."""

    def __init__(self, read: Callable[[], str], clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._text = ""
        self._time = float("-inf")

    def text(self) -> str:
        """Return the text. Raises CollectiveError if it cannot be read now."""
        with self._lock:
            if self._clock() - self._time > FRESH:
                self._text = self._read()
                self._time = self._clock()
            return self._text


class DiscoveryServer(ThreadingHTTPServer):
    """Answers with the text of `targets`; `report` gets a line about each error, at most one in five minutes."""

    daemon_threads = True  # a slow client does not delay the end

    def __init__(self, address: str, port: int, targets: TargetsNow, report: Callable[[str], None]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.targets = targets
        self._report = report
        self._limiter = LogLimiter(_LOG_PERIOD)
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        self.is_local = ipaddress.ip_address(address).is_loopback
        try:
            super().__init__((address, port), _TargetsHandler)
        except OSError as error:
            raise UsageError(f"--listen {address}:{port}: {error.strerror or error}") from None

    @property
    def url(self) -> str:
        """The URL of the targets."""
        host, port = str(self.server_address[0]), int(self.server_address[1])
        return f"http://{f'[{host}]' if ':' in host else host}:{port}{_PATH}"

    def report(self, text: str) -> None:
        """Report an error, unless one was reported recently."""
        if self._limiter.allows():
            self._report(text)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, or close the connection when there are too many."""
        if not self._free.acquire(blocking=False):
            self.report(f"more than {CONNECTIONS} connections at a time, one was closed")
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no further thread is possible
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer one request, and let another connection take the place."""
        limit = threading.Timer(LONGEST, _shut, [request])
        limit.daemon = True
        try:
            limit.start()
            super().process_request_thread(request, client_address)
        finally:
            limit.cancel()
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: the client has closed the connection, or was too slow."""


class _TargetsHandler(BaseHTTPRequestHandler):
    server: DiscoveryServer
    timeout = SECONDS
    server_version = "collective"
    sys_version = ""

    def do_GET(self) -> None:
        if self.server.is_local and not _is_address(self.headers.get("Host", "")):
            # A web page whose name has this address is not meant: DNS rebinding.
            self._answer(HTTPStatus.FORBIDDEN, "text/plain", "use the IP address or localhost in the URL\n")
        elif self.path.partition("?")[0] != _PATH:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", f"the targets are at {_PATH}\n")
        else:
            self._answer_targets()

    def do_HEAD(self) -> None:
        self.do_GET()

    def _answer_targets(self) -> None:
        try:
            text = self.server.targets.text()
        except CollectiveError as error:
            self.server.report(f"targets cannot be read: {error}")
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", "the targets cannot be read now\n")
        else:
            self._answer(HTTPStatus.OK, "application/json", text)

    def _answer(self, status: HTTPStatus, kind: str, text: str) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Log no requests: there is one each minute from each Prometheus."""


def _shut(connection: socket.socket) -> None:
    """End the reads and writes that wait for a client."""
    with suppress(OSError):  # it has just been closed
        connection.shutdown(socket.SHUT_RDWR)


def _is_address(host: str) -> bool:
    """Return whether the value of the header `Host` is an IP address or `localhost`; a port may follow."""
    found = _ADDRESS.fullmatch(host if re.search(r":[0-9]+$", host) and host[-1] != "]" else f"{host}:0")
    return found is not None and bool(found["ipv4"] or found["ipv6"])


def read_address(text: str) -> tuple[str, int]:
    """Read the value of `--listen`: `9199`, `127.0.0.1:9199`, `[::1]:9199`, `0.0.0.0:9199`."""
    found = _ADDRESS.fullmatch(text)
    address = (found["ipv6"] or found["ipv4"] or "127.0.0.1") if found else ""
    try:
        name = str(ipaddress.ip_address("127.0.0.1" if address == "localhost" else address))
    except ValueError:
        name = ""
    if not found or not name or int(found["port"]) > 65535:
        raise argparse.ArgumentTypeError(f"invalid address '{text[:50]}': use PORT, 127.0.0.1:PORT or [::1]:PORT")
    return name, int(found["port"])
