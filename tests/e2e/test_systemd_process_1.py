"""A node under a real systemd, process 1 of a container: the unit collectived.service, and the agent service."""

from __future__ import annotations

import json
import os
import signal
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.booted_systemd import SYSTEMD, Booted, booted
from support.cgroups import emptied
from support.crpc_process import BIN, Crpc, begin, make_crpc
from support.daemons import IDENTITY, aws_environment, configure
from support.waiting import wait_until

pytestmark = [
    pytest.mark.skipif("SYSTEMD" not in os.environ, reason="starts systemd as process 1: make systemd"),
    pytest.mark.timeout(300),
]
UNIT = Path(__file__).resolve().parents[2] / "conf" / "collectived.service"
WATCHDOG = 6  # seconds, in place of 60
SERVICE = "[Service]\nExecStart={}\n[Install]\nWantedBy=multi-user.target\n"
UNITS = {
    "clock.service": SERVICE.format("/bin/sleep 1000") + "\n[Unit]\nDescription=Runs\n",
    "dies.service": SERVICE.format("/bin/sh -c 'echo no such disk >&2; exit 3'"),
    "absent.service": SERVICE.format("/bin/sleep 1000") + "\n[Unit]\nConditionPathExists=/nowhere\n",
    "reloads.service": SERVICE.format("/bin/sleep 1000") + "\n[Service]\nExecReload=/bin/touch /run/reloaded\n",
}
MAIN = "collectived.service"


@dataclass(frozen=True)
class SystemdMachine:
    """A booted systemd with a node, and a caller."""

    systemd: Booted
    crpc: Crpc
    folder: Path

    def call(self, *words: str) -> dict[str, Any]:
        """Call an action on the node and return its reply."""
        (reply,) = json.loads(self.crpc(*words, "-I", IDENTITY, "-o", "json", "--yes").stdout)["replies"]
        return dict(reply)

    def service(self, action: str, name: str) -> dict[str, Any]:
        """Call an action of the agent service; return the outputs, with the status code and message."""
        reply = self.call("service", action, name)
        return {**reply["data"], "statuscode": reply["statuscode"], "statusmsg": reply["statusmsg"]}

    @property
    def log(self) -> str:
        """The log of the node, of all its starts."""
        return self.systemd.journal(MAIN)


@pytest.fixture(scope="module")
def group() -> Iterator[Path]:
    """A control group for systemd, whose groups below it are removed at the end."""
    with emptied(f"collective-systemd-{uuid.uuid4().hex[:8]}") as folder:
        yield folder


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, moto_server: str, group: Path) -> Iterator[SystemdMachine]:
    """A machine whose systemd has started the example unit."""
    assert SYSTEMD.exists(), "this test needs systemd: apt-get install systemd"
    folder = tmp_path_factory.mktemp("systemd")
    configure(folder, collective=f"one-{uuid.uuid4().hex[:8]}")
    environment = aws_environment(moto_server)
    (folder / "aws").write_text("".join(f"{key}={environment[key]}\n" for key in environment if key.startswith("AWS_")))
    unit = UNIT.read_text()
    for written, tested in {
        "/opt/collective/bin/collectived": f"{BIN}/collectived --config {folder}/node.yaml",
        "-/etc/default/collectived": str(folder / "aws"),
        "WatchdogSec=60": f"WatchdogSec={WATCHDOG}",
    }.items():
        assert written in unit
        unit = unit.replace(written, tested)
    crpc = make_crpc({**environment, "COLLECTIVE_CONFIG": str(folder)})
    with booted(folder, group, {**UNITS, MAIN: unit}) as systemd:
        systemd.run("systemctl", "start", MAIN)
        yield SystemdMachine(systemd, crpc, folder)


def test_systemd_is_process_1_and_the_node_is_ready_when_it_has_started(machine: SystemdMachine) -> None:
    """`systemctl start` returns when the node serves, because the unit has Type=notify."""
    assert machine.systemd.run("cat", "/proc/1/comm") == "systemd"
    shown = machine.systemd.shown(MAIN, "ActiveState", "SubState", "NRestarts", "Delegate")
    assert shown == {"ActiveState": "active", "SubState": "running", "NRestarts": "0", "Delegate": "yes"}
    wait_until(lambda: "daemon.serving" in machine.log, 30)  # the log may come after the notification
    assert machine.call("rpcutil", "ping")["statuscode"] == 0


def test_services_are_started_stopped_and_enabled(machine: SystemdMachine) -> None:
    """The agent service starts, restarts, enables, disables and stops a unit, and says what has changed."""
    assert machine.service("status", "clock")["status"] == "stopped"
    started = machine.service("start", "clock")
    assert (started["status"], started["changed"]) == ("running", True)
    assert machine.service("start", "clock")["changed"] is False
    before = machine.systemd.shown("clock.service", "MainPID")
    assert machine.service("restart", "clock")["status"] == "running"
    assert machine.systemd.shown("clock.service", "MainPID") != before
    enabled = machine.service("enable", "clock")
    assert (enabled["enabled"], enabled["changed"]) == (True, True)
    assert machine.systemd.run("systemctl", "is-enabled", "clock") == "enabled"
    assert machine.service("disable", "clock")["enabled"] is False
    stopped = machine.service("stop", "clock")
    assert (stopped["status"], stopped["changed"]) == ("stopped", True)
    assert machine.systemd.run("systemctl", "is-active", "clock", check=False) == "inactive"


def test_a_service_that_dies_at_once_is_a_failure_with_its_log(machine: SystemdMachine) -> None:
    """The start of a service that ends with an error fails, with the last lines of its log."""
    died = machine.service("start", "dies")
    assert (died["statuscode"], died["status"]) == (1, "failed")
    assert "no such disk" in died["statusmsg"] + json.dumps(died)
    assert machine.service("status", "nothing-of-this-name")["statuscode"] == 1


def test_a_service_whose_condition_does_not_hold_is_not_started(machine: SystemdMachine) -> None:
    """Systemd calls such a start a success, although nothing runs."""
    started = machine.service("start", "absent")
    assert (started["statuscode"], started["status"]) == (1, "stopped")
    assert started["statusmsg"].startswith("service 'absent' is stopped after start: ")
    machine.systemd.run("systemctl", "start", "absent")


def test_a_service_is_reloaded(machine: SystemdMachine) -> None:
    """A reload runs the unit's command, and is refused while the unit is stopped."""
    assert machine.service("reload", "reloads")["statuscode"] == 1
    assert machine.service("start", "reloads")["statuscode"] == 0
    assert machine.service("reload", "reloads")["statuscode"] == 0
    machine.systemd.run("test", "-e", "/run/reloaded")


def test_the_node_reloads_its_files(machine: SystemdMachine) -> None:
    """`systemctl reload` reloads the node, which keeps its process."""
    before = machine.systemd.shown(MAIN, "MainPID")
    machine.systemd.run("systemctl", "reload", MAIN)
    wait_until(lambda: "daemon.reloaded" in machine.log, 30)
    assert machine.systemd.shown(MAIN, "MainPID", "ActiveState") == {**before, "ActiveState": "active"}


def test_actions_run_in_control_groups_below_the_unit(machine: SystemdMachine) -> None:
    """The daemon creates a group for each action in the one that systemd has delegated to it."""
    groups = machine.call("shell", "run", "cat /proc/self/cgroup")["data"]["stdout"]
    assert "\n0::/system.slice/collectived.service/action-" in f"\n{groups}"


def test_a_killed_daemon_is_restarted_and_ends_what_its_actions_have_started(machine: SystemdMachine) -> None:
    """After SIGKILL systemd starts the daemon again; the caller gets `interrupted`, and nothing of the action runs."""
    before = machine.systemd.shown(MAIN, "MainPID", "NRestarts")
    mark = machine.folder / "mark"
    line = f"echo $$ > {mark}; sleep 1000"
    caller = begin(machine.crpc, "shell", "run", line, "-I", IDENTITY, "-o", "json", "-t", "100")
    wait_until(lambda: mark.exists() and mark.read_text() != "", 30)
    machine.systemd.run("kill", f"-{signal.SIGKILL}", before["MainPID"])
    (reply,) = json.loads(caller().stdout)["replies"]
    assert reply["reason"] == "interrupted"
    assert machine.systemd.run("ls", f"/proc/{mark.read_text().strip()}", check=False) == ""
    assert int(machine.systemd.shown(MAIN, "NRestarts")["NRestarts"]) == int(before["NRestarts"]) + 1


def test_a_background_command_survives_a_restart(machine: SystemdMachine) -> None:
    """Processes that were left running on purpose are not killed with the node."""
    handle = machine.call("shell", "start", "command=sleep 1000")["data"]["handle"]
    machine.systemd.run("systemctl", "restart", MAIN)
    assert machine.call("shell", "status", handle)["data"]["status"] == "running"
    assert machine.call("shell", "kill", handle)["statuscode"] == 0


def test_a_node_that_hangs_is_restarted_by_the_watchdog(machine: SystemdMachine) -> None:
    """A daemon that sends no keep-alives is ended and started again, and answers."""
    before = machine.systemd.shown(MAIN, "MainPID", "NRestarts")
    machine.systemd.run("kill", f"-{signal.SIGSTOP}", before["MainPID"])
    wait_until(lambda: machine.systemd.shown(MAIN, "NRestarts")["NRestarts"] != before["NRestarts"], 60)
    wait_until(lambda: machine.systemd.shown(MAIN, "ActiveState")["ActiveState"] == "active", 60)
    assert "Watchdog timeout" in machine.systemd.run("journalctl", "--unit", MAIN, "--no-pager")
    assert machine.call("rpcutil", "ping")["statuscode"] == 0


def test_the_node_stops_cleanly(machine: SystemdMachine) -> None:
    """`systemctl stop` ends the node with exit code 0, within its time."""
    machine.systemd.run("systemctl", "stop", MAIN)
    shown = machine.systemd.shown(MAIN, "ActiveState", "Result", "ExecMainStatus")
    assert shown == {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0"}
    assert "daemon.stopped" in machine.log
