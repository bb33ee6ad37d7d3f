"""A real daemon under a service manager: what it is told, and the unit that has systemd start it."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import make_crpc
from daemons import IDENTITY, aws_environment, configure, daemon
from test_service_manager import Listener


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Listener]:
    """What stands in for systemd."""
    listener = Listener(str(tmp_path / "notify"))
    with listener.socket:
        yield listener


def test_a_daemon_says_what_it_does(
    tmp_path: Path, moto_server: str, manager: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ready when it serves, alive in between, reloading and ready again, stopping; its actions know nothing of it."""
    configure(tmp_path, collective=f"unit-{uuid.uuid4().hex[:8]}")
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    monkeypatch.setenv("WATCHDOG_USEC", "600000")
    with daemon(tmp_path, moto_server) as node:
        assert manager.hear(20)[0] == "READY=1"
        assert node.events("daemon.serving")
        assert manager.hear() == ["WATCHDOG=1"]
        crpc = make_crpc({**aws_environment(moto_server), "COLLECTIVE_CONFIG": str(tmp_path)})
        said = crpc("shell", "run", "command=env", "-I", IDENTITY, "--display", "all").stdout
        assert "AWS_DEFAULT_REGION" in said
        assert "NOTIFY_SOCKET" not in said
        assert "WATCHDOG" not in said
        os.kill(node.process.pid, signal.SIGHUP)
        told = heard_until(manager, "READY=1")
        assert [lines[0] for lines in told if lines != ["WATCHDOG=1"]] == ["RELOADING=1", "READY=1"]
        os.kill(node.process.pid, signal.SIGTERM)
        heard_until(manager, "STOPPING=1")
        assert node.process.wait(20) == 0


def heard_until(manager: Listener, word: str) -> list[list[str]]:
    """Return all that is said up to a word."""
    told = []
    while not told or told[-1][0] != word:
        told.append(manager.hear(10))
    return told
