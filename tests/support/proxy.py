"""A proxy in front of a real server, which counts requests and can throttle, hang up, or become unreachable.

with Proxy(url) as proxy:
    AWS_ENDPOINT_URL=proxy.url …
    proxy.counts["SendMessage"]     the number of requests by operation
    proxy.turn("throttle")          every response is a ThrottlingException, until `turn("pass")`
    proxy.refused["Subscribe"] = "AuthorizationError"    this operation returns this error
    proxy.turn("cut")               every connection is closed without a response, also pending ones
    proxy.watch = function          is called as function("before SendMessage", request) and
                                    function("after SendMessage", response); an OSError drops the message
    proxy.strict = True             signatures with a wrong time are refused, as by AWS
    proxy.answer = function         is called as function("ReceiveMessage", request); its result, unless it is None,
                                is the response, and the server is not called
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

MAX_SKEW = 300.0  # seconds


class Proxy(ThreadingHTTPServer):
    """Forwards to `upstream` (a URL) from a free loopback port; `counts` are the requests by operation."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream)
        self.mode = "pass"
        self.counts: Counter[str] = Counter()
        self.refused: dict[str, str] = {}
        self.watch: Callable[[str, bytes], None] = lambda _step, _content: None
        self.answer: Callable[[str, bytes], bytes | None] = lambda _operation, _request: None
        self.strict = False
        self.lock = threading.Lock()
        self.waiting: set[socket.socket] = set()  # connections with a pending request
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def turn(self, mode: str) -> None:
        """Switch to `mode`; connections with a pending request are closed."""
        self.mode = mode
        with self.lock:
            waiting = list(self.waiting)
        for connection in waiting:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Proxy:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Log nothing: clients that hang up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # otherwise the body of a response is sent 40 ms after its headers
    server: Proxy

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        with self.server.lock:
            self.server.counts[self._operation(body)] += 1
            self.server.waiting.add(self.connection)
        try:
            self._pass_on(body)
        except OSError:
            self.close_connection = True
        finally:
            with self.server.lock:
                self.server.waiting.discard(self.connection)

    def _pass_on(self, body: bytes) -> None:
        if self.server.mode == "cut":
            self.close_connection = True
            return
        if self.server.strict and self._skew() > MAX_SKEW:
            self._refuse("InvalidSignatureException", "Signature not yet current")
            return
        operation = self._operation(body)
        code = "ThrottlingException" if self.server.mode == "throttle" else self.server.refused.get(operation)
        if code:
            self._refuse(code, "Rate exceeded" if self.server.mode == "throttle" else f"refused: {operation}")
            return
        own = self.server.answer(operation, body)
        if own is not None:
            self._answer(200, own, {"content-type": "text/html"})
            return
        self.server.watch(f"before {operation}", body)
        upstream = http.client.HTTPConnection(self.server.upstream.netloc, timeout=60)
        with contextlib.closing(upstream):
            upstream.request("POST", self.path, body, {**dict(self.headers), "host": self.server.upstream.netloc})
            answer = upstream.getresponse()
            content = answer.read()
        if self.server.mode == "cut":
            self.close_connection = True
            return
        self.server.watch(f"after {operation}", content)
        self._answer(answer.status, content, dict(answer.headers))

    def _refuse(self, code: str, message: str) -> None:
        """Send an error response in the protocol of the service; SNS uses XML."""
        if "x-amz-target" in self.headers:
            self._answer(400, json.dumps({"__type": code, "message": message}).encode(), {})
            return
        error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
        self._answer(400, f"<ErrorResponse>{error}</ErrorResponse>".encode(), {"content-type": "text/xml"})

    def _skew(self) -> float:
        """Return the skew of the signature's time in seconds (AWS IAM user guide: Signature Version 4)."""
        signed = datetime.strptime(f"{self.headers['x-amz-date']} +0000", "%Y%m%dT%H%M%SZ %z")
        return abs(signed.timestamp() - time.time())

    def _operation(self, body: bytes) -> str:
        target = self.headers.get("x-amz-target")
        if target:
            return target.rpartition(".")[2]
        return parse_qs(body.decode()).get("Action", ["?"])[0]

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        kept = {"content-type": "application/x-amz-json-1.0", **{k.lower(): v for k, v in headers.items()}}
        for name, value in kept.items():
            if name not in ("content-length", "connection", "transfer-encoding", "server", "date"):
                self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Log nothing."""
