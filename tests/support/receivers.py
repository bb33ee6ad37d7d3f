"""Real servers that receive notifications: a page for webhooks, and a mail server."""

from __future__ import annotations

import email
import email.policy
import json
import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


class Webhook(ThreadingHTTPServer):
    """A page that receives JSON; `url` is its address for Apprise. Paths with `refuse` get 403, with `hang` nothing."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _WebhookHandler)
        self.url = f"json://127.0.0.1:{self.server_address[1]}"
        self.received: queue.Queue[dict[str, Any]] = queue.Queue()
        self.over = threading.Event()

    def next(self, timeout: float = 30.0) -> dict[str, Any]:
        """Return the next notification."""
        return self.received.get(timeout=timeout)


class _WebhookHandler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "hang" in self.path:
            self.server.over.wait(60)
        refused = "refuse" in self.path
        if not refused:
            self.server.received.put(body)
        self.send_response(403 if refused else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def webhook() -> Iterator[Webhook]:
    """Serve a page for webhooks."""
    with Webhook() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()


class Mailbox:
    """What a mail server has received; `url` is its address for Apprise."""

    def __init__(self) -> None:
        self.url = ""
        self.received: queue.Queue[EmailMessage] = queue.Queue()

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - as aiosmtpd calls it
        """Keep a message."""
        assert isinstance(envelope.content, bytes)
        self.received.put(email.message_from_bytes(envelope.content, _class=EmailMessage, policy=email.policy.default))
        return "250 OK"

    def next(self, timeout: float = 30.0) -> tuple[str, str]:
        """Return the subject and the text of the next message."""
        message = self.received.get(timeout=timeout)
        return str(message["subject"]), str(message.get_content()).replace("\r\n", "\n")


@contextmanager
def mail_server() -> Iterator[Mailbox]:
    """Serve SMTP."""
    mailbox = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as chosen:  # the controller cannot choose a port
        port = chosen.getsockname()[1]
    server = Controller(mailbox, hostname="127.0.0.1", port=port)
    server.start()
    try:
        mailbox.url = f"mailto://127.0.0.1:{port}?from=crpc@lab.test&to=ops@lab.test"
        yield mailbox
    finally:
        server.stop()
