"""The targets of Prometheus over HTTP: answers, limits, and a server that ends when it should."""

from __future__ import annotations

import argparse
import http.client
import json
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.waiting import wait_until

from collective.clients.exports import http_discovery
from collective.clients.exports.http_discovery import FRESH, DiscoveryServer, TargetsNow, read_address
from collective.errors import Unreachable, UsageError

LOOPBACK = "127.0.0.1"


class TextReads:
    """Counts reads; raises `error` if it is set."""

    def __init__(self) -> None:
        self.reads = 0
        self.error: Exception | None = None
        self.seconds = 0.0

    def read(self) -> str:
        """Return a text with the number of this read."""
        self.reads += 1
        if self.error:
            raise self.error
        return f"[{self.reads}]\n"

    def clock(self) -> float:
        """Return the seconds that the test has set."""
        return self.seconds


@contextmanager
def serving(registry: TextReads, address: str = LOOPBACK) -> Iterator[tuple[DiscoveryServer, list[str]]]:
    """Serve on a free port; yield the server and the lines that it reports."""
    lines: list[str] = []
    with DiscoveryServer(address, 0, TargetsNow(registry.read, registry.clock), lines.append) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server, lines
        finally:
            server.shutdown()
            thread.join(30)


def ask(
    server: DiscoveryServer, path: str = "/targets", method: str = "GET", host: str | None = None
) -> tuple[int, str, str]:
    """Send a request; return status, content type and content."""
    connection = http.client.HTTPConnection(LOOPBACK, server.server_address[1], timeout=10)
    connection.request(method, path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    found = answer.status, answer.headers["Content-Type"], answer.read().decode()
    connection.close()
    return found


def test_the_targets_are_json() -> None:
    """Prometheus requires the status 200 and this content type; the registry is read once in ten seconds."""
    registry = TextReads()
    with serving(registry) as (server, lines):
        assert server.url == f"http://127.0.0.1:{server.server_address[1]}/targets"
        for _ in range(3):
            status, kind, content = ask(server)
            assert (status, kind, json.loads(content)) == (200, "application/json; charset=utf-8", [1])
        registry.seconds = FRESH + 0.1
        assert ask(server, "/targets?x=1")[2] == "[2]\n"
        assert ask(server, method="HEAD") == (200, "application/json; charset=utf-8", "")
    assert (registry.reads, lines) == (2, [])


def test_an_unreadable_registry_is_503() -> None:
    """Prometheus then keeps its last targets; the reason is reported once, and not sent to the client."""
    registry = TextReads()
    registry.error = Unreachable("table: secret reason")
    with serving(registry) as (server, lines):
        for _ in range(2):
            assert ask(server)[::2] == (503, "the targets cannot be read now\n")
        registry.error = None
        assert ask(server)[0] == 200
    assert lines == ["targets cannot be read: table: secret reason"]


def test_other_paths_and_methods_are_refused() -> None:
    """Nothing else is served."""
    with serving(TextReads()) as (server, _):
        assert ask(server, "/")[::2] == (404, "the targets are at /targets\n")
        assert ask(server, method="POST")[0] == 501


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("127.0.0.1:80", 200), ("[::1]:9", 200), ("evil.example:9", 403), ("127.0.0.1.evil", 403)],
)
def test_a_web_page_cannot_read_the_targets(host: str, status: int) -> None:
    """On a loopback address, a name that was made to lead here is refused (DNS rebinding)."""
    with serving(TextReads()) as (server, _):
        assert ask(server, host=host)[0] == status


def test_connections_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection above the limit is closed; a place is free again when a client leaves."""
    monkeypatch.setattr(http_discovery, "CONNECTIONS", 2)
    with serving(TextReads()) as (server, lines):
        idle = [socket.create_connection(server.server_address[:2], timeout=10) for _ in range(2)]  # type: ignore[arg-type]
        with socket.create_connection(server.server_address[:2], timeout=10) as third:  # type: ignore[arg-type]
            assert third.recv(1) == b""
        for one in idle:
            one.close()
        wait_until(lambda: answers(server), 30)
    assert lines == ["more than 2 connections at a time, one was closed"]


def test_slow_clients_do_not_keep_others_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends a byte now and then is not waited for longer than one that sends nothing."""
    monkeypatch.setattr(http_discovery, "CONNECTIONS", 2)
    monkeypatch.setattr(http_discovery, "LONGEST", 0.5)
    with serving(TextReads()) as (server, _):
        slow = [socket.create_connection(server.server_address[:2], timeout=10) for _ in range(2)]  # type: ignore[arg-type]
        ended, until = 0, time.monotonic() + 30
        while ended < 2 and time.monotonic() < until:
            ended = sum(not sends(one) for one in slow)
        assert ended == 2
        wait_until(lambda: answers(server), 30)
        for one in slow:
            one.close()


def sends(connection: socket.socket) -> bool:
    """Send a byte; return whether the other end has not closed the connection."""
    try:
        connection.sendall(b"x")
        ready, _, _ = select.select([connection], [], [], 0.05)
        return not ready or bool(connection.recv(1))
    except OSError:
        return False


def answers(server: DiscoveryServer) -> bool:
    """Return whether the server answers now."""
    try:
        return ask(server)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def test_a_port_in_use_is_an_error() -> None:
    """The line names the address and the reason."""
    with serving(TextReads()) as (server, _), pytest.raises(UsageError, match=r"^--listen 127.0.0.1:[0-9]+: Address"):
        DiscoveryServer(LOOPBACK, int(server.server_address[1]), TargetsNow(str), print)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9199", (LOOPBACK, 9199)),
        (":9199", (LOOPBACK, 9199)),
        ("localhost:1", (LOOPBACK, 1)),
        ("10.0.0.1:80", ("10.0.0.1", 80)),
        ("[::1]:0", ("::1", 0)),
    ],
)
def test_the_address_is_loopback_unless_another_is_given(text: str, address: tuple[str, int]) -> None:
    """A port alone is one of 127.0.0.1."""
    assert read_address(text) == address


@pytest.mark.parametrize(
    "text", ["", "x", "65536", "my.net:1", "1.2.3:4", "::1:9", "[::1]", "127.0.0.1", "-1", "1.2.3.999:9"]
)
def test_another_address_is_refused(text: str) -> None:
    """The error shows the forms."""
    with pytest.raises(argparse.ArgumentTypeError, match="use PORT"):
        read_address(text)
