"""Servers that accept and never answer, or send one byte a second: commands end, and daemons stop and serve again."""

from __future__ import annotations

import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support import failures
from support.bad_servers import silent_server, slow_server
from support.crpc_process import Crpc, make_crpc
from support.daemons import IDENTITY, aws_environment, configure, daemon
from support.proxy import Proxy

TIMEOUT = 8.0  # seconds of `crpc ping -t`
AFTER = 10.0  # seconds after its timeout by which a command has ended
STOP = 15.0  # seconds for a daemon to stop while its server does not answer

Server = Callable[[], AbstractContextManager[str]]


@pytest.fixture(params=[silent_server, slow_server], ids=["silent", "slow"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a server that does not answer."""
    server: Server = request.param
    with server() as url:
        yield url


@pytest.fixture
def crpc(tmp_path: Path) -> Crpc:
    """A caller with a registry."""
    configure(tmp_path, collective=f"slow-{uuid.uuid4().hex[:8]}")
    path = tmp_path / "client.yaml"
    path.write_text(path.read_text().replace('"registry": "none"', '"registry": "dynamodb"'))
    return make_crpc({**aws_environment("http://127.0.0.1:9"), "COLLECTIVE_CONFIG": str(tmp_path)})


@pytest.mark.parametrize("words", [("ping", "-t", "8"), ("find",), ("rpcutil", "ping", "-t", "8"), ("facts", "role")])
@pytest.mark.failure(failures.NETWORK, "the same (caller)")
def test_a_command_ends_soon_after_its_timeout(crpc: Crpc, url: str, words: tuple[str, ...]) -> None:
    """A command ends with one line and exit code 69, and does not wait for each attempt of each call."""
    began = time.monotonic()
    done = crpc(*words, AWS_ENDPOINT_URL=url)
    took = time.monotonic() - began
    assert took < TIMEOUT + AFTER
    assert (done.returncode, done.stderr.count("\n")) == (69, 1), done.stderr
    assert "no response within" in done.stderr


@pytest.mark.failure(failures.NETWORK, "a server that accepts and does not answer, or sends a byte a second (node)")
def test_a_daemon_stops_and_serves_again(tmp_path: Path, moto_server: str, url: str) -> None:
    """A daemon serves when a server that did not respond is back, and stops in time while it is not."""
    configure(tmp_path, collective=f"slow-{uuid.uuid4().hex[:8]}")
    crpc = make_crpc({**aws_environment(moto_server), "COLLECTIVE_CONFIG": str(tmp_path)})
    with Proxy(moto_server) as proxy, daemon(tmp_path, proxy.url) as node:
        proxy.upstream = urlsplit(url)
        proxy.turn("pass")  # ends the pending poll
        node.wait_for("transport.failed", seconds=45)
        assert "no response within" in node.log
        proxy.upstream = urlsplit(moto_server)
        assert crpc("rpcutil", "ping", "-I", IDENTITY, "-t", "60").returncode == 0, node.log
        proxy.upstream = urlsplit(url)
        proxy.turn("pass")  # ends the pending poll
        node.wait_for("transport.failed", 2, seconds=60)
        began = time.monotonic()
        node.process.send_signal(signal.SIGTERM)
        assert node.process.wait(60) == 0
        assert time.monotonic() - began < STOP
