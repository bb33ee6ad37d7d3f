"""Tests of the nrpe agent with the Monitoring Plugins of this machine."""

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
    """Install the Monitoring Plugins, configure five checks, and return the settings of the agent."""
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


def in_30_s() -> float:
    """Return a deadline for an action, 30 s from now."""
    return time.monotonic() + 30


def test_a_check_that_is_ok(settings: dict[str, Any]) -> None:
    """Output and performance data of a real plugin are separate outputs."""
    reply = nrpe.runcommand("disk_ok", settings=settings, deadline=in_30_s())
    assert reply["exitcode"] == 0
    assert reply["output"].startswith("DISK OK")
    assert reply["perfdata"].startswith("/=")
    assert "|" not in reply["output"]


@pytest.mark.parametrize(
    ("name", "args", "state", "exitcode"),
    [("disk_full", None, "CRITICAL", 2), ("procs", None, "WARNING", 1), ("usage", None, "UNKNOWN", 3)],
)
def test_a_check_that_is_not_ok(
    name: str, args: str | None, state: str, exitcode: int, settings: dict[str, Any]
) -> None:
    """The status message is the state of the plugin, and the reply has its exit code and output."""
    with pytest.raises(Aborted, match=f"^{state}$") as error:
        nrpe.runcommand(name, args, settings=settings, deadline=in_30_s())
    assert error.value.data["exitcode"] == exitcode
    assert error.value.data["output"]


def test_arguments_reach_the_plugin(settings: dict[str, Any]) -> None:
    """The arguments of the request reach the plugin if the settings allow arguments."""
    assert nrpe.runcommand("disk", "1!0", settings=settings, deadline=in_30_s())["exitcode"] == 0


def test_all_checks_are_run(settings: dict[str, Any]) -> None:
    """`runallcommands` returns the result of every configured check."""
    commands = nrpe.runallcommands(settings=settings, deadline=in_30_s())["commands"]
    assert {name: result["exitcode"] for name, result in commands.items()}["disk_full"] == 2
    assert set(commands) == {"disk_ok", "disk_full", "disk", "usage", "procs"}
