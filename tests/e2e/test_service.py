"""Tests of the service agent with a real init script of this machine: cron, through `service` and update-rc.d."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.apt_machine import require_apt

from collective.agent import Aborted
from collective.agents import package, service

DAEMON = "cron"


def call(action: str, name: str = DAEMON) -> dict[str, Any]:
    """Call an action of the service agent; return its outputs."""
    deadline = time.monotonic() + 30
    return dict(getattr(service, action)(name, settings={"provider": "sysv"}, deadline=deadline))


@pytest.fixture(scope="module", autouse=True)
def _cron() -> Iterator[None]:
    """Install cron if it is missing, and leave it stopped and enabled, as its package does on this machine."""
    require_apt()
    if not Path("/etc/init.d", DAEMON).exists():
        package.install(DAEMON, settings={}, deadline=time.monotonic() + 110)
    call("stop")
    yield
    call("stop")
    call("enable")


def test_start_restart_and_stop_of_a_real_daemon() -> None:
    """Status and `changed` describe the real process, and a repeated action changes nothing."""
    started = call("start")
    assert (started["status"], started["changed"]) == ("running", True)
    assert subprocess.run(["pgrep", "-x", DAEMON], check=False, capture_output=True).returncode == 0
    assert call("start")["changed"] is False
    assert call("restart")["status"] == "running"
    assert call("stop")["status"] == "stopped"
    assert call("stop")["changed"] is False


def test_enable_and_disable_change_the_links_of_the_run_levels() -> None:
    """Enable and disable change the links of the run levels, and a repeated action changes nothing."""
    call("enable")
    assert call("disable")["changed"] is True
    assert call("disable")["changed"] is False
    assert list(Path("/etc/rc3.d").glob(f"S*{DAEMON}")) == []
    assert call("enable")["enabled"] is True
    assert list(Path("/etc/rc3.d").glob(f"S*{DAEMON}")) != []
    assert call("enable")["changed"] is False


def test_an_unknown_service_is_refused() -> None:
    """A service without an init script is an error of one line."""
    with pytest.raises(Aborted, match=r"^service 'no-such-service' does not exist on this node"):
        call("status", "no-such-service")
