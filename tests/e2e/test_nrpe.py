"""Tests of the nrpe agent with the Monitoring Plugins of this machine, and beside NRPE's own daemon."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.apt_machine import require_apt
from support.waiting import wait_until

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


CHECKS = [
    "command[user]=/usr/bin/id -un",
    "command[group]=/usr/bin/id -gn",
    "command[home]=/usr/bin/printenv HOME",
    "command[silent]=true",
    "command[check_disk_/]=echo root",
    "command[Check Users]=echo users",
    "command[warning]=echo slow; exit 1",
    "command[slow]=sleep 30",
]


@pytest.fixture
def real_nrpe(needs: Callable[[str, str], None]) -> Iterator[tuple[Path, Callable[[str], tuple[int, str]]]]:
    """Start NRPE's own daemon; return its configuration file, and a function that asks it with check_nrpe.

    Debian builds it without arguments, so these cannot be compared.
    """
    require_apt()
    needs("/usr/sbin/nrpe", "nagios-nrpe-server")
    needs("/usr/lib/nagios/plugins/check_nrpe", "nagios-nrpe-plugin")
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = folder / "nrpe.cfg"
    own = ["server_address=127.0.0.1", "allowed_hosts=127.0.0.1", f"server_port={port}", f"pid_file={folder}/pid"]
    decisive = ["nrpe_user=nagios", "nrpe_group=nagios", "command_timeout=2"]
    config.write_text("\n".join([*own, *decisive, *CHECKS]) + "\n")
    daemon = subprocess.Popen(["/usr/sbin/nrpe", "-n", "-f", "-c", str(config)], stderr=subprocess.DEVNULL)

    def ask(name: str) -> tuple[int, str]:
        command = ["/usr/lib/nagios/plugins/check_nrpe", "-n", "-H", "127.0.0.1", "-p", str(port), "-c", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
        return done.returncode, done.stdout.strip()

    try:
        wait_until(lambda: ask("user")[0] == 0, 30)
        yield config, ask
    finally:
        daemon.terminate()
        daemon.wait(30)
        shutil.rmtree(folder)


def test_checks_run_as_in_nrpe_itself(real_nrpe: tuple[Path, Callable[[str], tuple[int, str]]]) -> None:
    """State and output are those of NRPE's own daemon with the same file: user, group, HOME, no output, timeout."""
    config, ask = real_nrpe
    for name in ("user", "group", "home", "silent", "check_disk_/", "Check Users", "warning", "slow"):
        state, output = ask(name)
        try:
            reply = nrpe.runcommand(name, settings={"config": str(config)}, deadline=in_30_s())
        except Aborted as error:
            reply = error.data
        own_output = {"silent": "NRPE: Unable to read output", "slow": "NRPE: Command timed out after 2 seconds"}
        shown = own_output.get(name, reply["output"])
        assert output == shown, name
        assert state == min(reply["exitcode"], 3), name
