"""Servers that accept connections and do not answer as AWS does: silent, one byte a second, or always the same page."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_PERIOD = 1.0  # seconds between the bytes of a slow server


@contextmanager
def silent_server() -> Iterator[str]:
    """Accept connections and never answer; yield the URL."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def slow_server() -> Iterator[str]:
    """Send one byte of a response each second, without an end; yield the URL."""
    ended = threading.Event()

    def respond(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\n")
            connection.sendall(b"Content-Length: 1000000\r\n\r\n{")
            while not ended.wait(_PERIOD):
                connection.sendall(b" ")

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = server.accept()
                threading.Thread(target=respond, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        ended.set()


class Page(ThreadingHTTPServer):
    """Answers every request with `status` and `content` of the type `kind`; `requests` are the number of requests."""

    daemon_threads = True

    def __init__(self, content: bytes, status: int = 200) -> None:
        super().__init__(("127.0.0.1", 0), _PageHandler)
        self.content = content
        self.status = status
        self.kind = ""
        self.requests = 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Page:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _PageHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Page

    def do_POST(self) -> None:
        """Send the page."""
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.requests += 1
        self.send_response(self.server.status)
        self.send_header("content-length", str(len(self.server.content)))
        if self.server.kind:
            self.send_header("content-type", self.server.kind)
        if self.server.status // 100 == 3:
            self.send_header("location", "http://portal.invalid/login")
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, *_: object) -> None:
        """Log nothing."""
