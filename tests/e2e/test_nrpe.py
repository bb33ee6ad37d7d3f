"""The nrpe agent with the real monitoring plugins of this machine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from support.apt_machine import require_apt

from collective.agent import Aborted
from collective.agents import nrpe, package

PLUGINS = Path("/usr/lib/nagios/plugins")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Install the plugins, and configure three checks of the root file system."""
    if not (PLUGINS / "check_disk").exists():
        require_apt()
        package.install("monitoring-plugins-basic", settings={}, deadline=time.monotonic() + 110)
    config = tmp_path_factory.mktemp("nagios") / "nrpe.cfg"
    config.write_text(
        f"command[disk_ok]={PLUGINS}/check_disk -w 1 -c 0 -p /\n"
        f"command[disk_full]={PLUGINS}/check_disk -c 101% -p /\n"
        f"command[disk]={PLUGINS}/check_disk -w $ARG1$ -c $ARG2$ -p /\n"
        f"command[usage]={PLUGINS}/check_disk\n"
        f"command[procs]={PLUGINS}/check_procs -w 0:0\n"
    )
    return {"config": str(config), "allow_arguments": True}


def within() -> float:
    return time.monotonic() + 30


def test_a_check_that_is_fine(settings: dict[str, Any]) -> None:
    """Text and performance data of a real plugin arrive apart."""
    reply = nrpe.runcommand("disk_ok", settings=settings, deadline=within())
    assert reply["exitcode"] == 0
    assert reply["output"].startswith("DISK OK")
    assert reply["perfdata"].startswith("/=")
    assert "|" not in reply["output"]


@pytest.mark.parametrize(
    ("name", "args", "state", "exitcode"),
    [("disk_full", None, "CRITICAL", 2), ("procs", None, "WARNING", 1), ("usage", None, "UNKNOWN", 3)],
)
def test_a_check_that_is_not(name: str, args: str | None, state: str, exitcode: int, settings: dict[str, Any]) -> None:
    """The plugin's state is the message, and its data is there."""
    with pytest.raises(Aborted, match=f"^{state}$") as error:
        nrpe.runcommand(name, args, settings=settings, deadline=within())
    assert error.value.data["exitcode"] == exitcode
    assert error.value.data["output"]


def test_arguments_reach_the_plugin(settings: dict[str, Any]) -> None:
    """Thresholds come from the caller, where the settings allow it."""
    assert nrpe.runcommand("disk", "1!0", settings=settings, deadline=within())["exitcode"] == 0


def test_all_checks(settings: dict[str, Any]) -> None:
    """Every check's result is there."""
    commands = nrpe.runallcommands(settings=settings, deadline=within())["commands"]
    assert {name: result["exitcode"] for name, result in commands.items()}["disk_full"] == 2
    assert set(commands) == {"disk_ok", "disk_full", "disk", "usage", "procs"}
