"""The service agent with a real init script of this machine: Debian's cron, by `service` and update-rc.d."""

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
    deadline = time.monotonic() + 30
    return dict(getattr(service, action)(name, settings={"provider": "sysv"}, deadline=deadline))


@pytest.fixture(scope="module", autouse=True)
def _cron() -> Iterator[None]:
    """Install cron when it is not there, and leave it stopped and enabled, as Debian's package does here."""
    require_apt()
    if not Path("/etc/init.d", DAEMON).exists():
        package.install(DAEMON, settings={}, deadline=time.monotonic() + 110)
    call("stop")
    yield
    call("stop")
    call("enable")


def test_a_real_daemon_from_start_to_stop() -> None:
    """State and `changed` tell the truth about a real process."""
    started = call("start")
    assert (started["status"], started["changed"]) == ("running", True)
    assert subprocess.run(["pgrep", "-x", DAEMON], check=False, capture_output=True).returncode == 0
    assert call("start")["changed"] is False
    assert call("restart")["status"] == "running"
    assert call("stop")["status"] == "stopped"
    assert call("stop")["changed"] is False


def test_enable_and_disable_change_the_real_links() -> None:
    """The links of the run levels follow, and doing it twice changes nothing."""
    call("enable")
    assert call("disable")["changed"] is True
    assert call("disable")["changed"] is False
    assert list(Path("/etc/rc3.d").glob(f"S*{DAEMON}")) == []
    assert call("enable")["enabled"] is True
    assert list(Path("/etc/rc3.d").glob(f"S*{DAEMON}")) != []
    assert call("enable")["changed"] is False


def test_no_such_service() -> None:
    """A name without an init script is answered with one line."""
    with pytest.raises(Aborted, match=r"^service 'no-such-service' does not exist on this node"):
        call("status", "no-such-service")
