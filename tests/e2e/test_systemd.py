"""A real daemon under a service manager: its notifications, and the systemd unit."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.cgroups import MOUNTED
from support.crpc_process import BIN, Completed, make_crpc
from support.daemons import IDENTITY, aws_environment, configure, daemon
from support.notify_socket import Listener
from support.waiting import wait_until

from collective.config import NodeConfig
from collective.node import daemon as daemon_
from collective.node import server
from collective.transport import LONGEST_CALL

UNIT = Path(__file__).resolve().parents[2] / "conf" / "collectived.service"
EXPOSURE = "8.8"  # of 10; docs/how-to/run-the-daemon.md explains why it is not lower


@pytest.fixture
def unit(tmp_path: Path, needs: Callable[[str, str], None]) -> Path:
    """The example unit with the path of the installed daemon."""
    needs("systemd-analyze", "systemd")
    text = UNIT.read_text()
    assert "/opt/collective/bin/collectived" in text
    path = tmp_path / UNIT.name
    path.write_text(text.replace("/opt/collective/bin", str(BIN)))
    return path


def analyze(*words: str | Path) -> Completed:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False, timeout=60)


def complaints(unit: Path) -> list[str]:
    """Return the warnings of systemd about a unit; it also reads other units of the machine, which are ignored."""
    done = analyze("verify", "--recursive-errors=no", unit)
    found = [line for line in done.stderr.splitlines() if unit.name in line]
    assert bool(done.returncode) <= bool(found), done.stderr
    return found


def test_systemd_accepts_the_unit(unit: Path) -> None:
    """`systemd-analyze verify` has no warnings about the unit, and notices a misspelt key."""
    assert complaints(unit) == []
    unit.write_text(unit.read_text().replace("[Service]\n", "[Service]\nRestrat=always\n"))
    [found] = complaints(unit)
    assert "Restrat" in found


def test_the_unit_is_no_more_exposed_than_is_documented(unit: Path) -> None:
    """The exposure level of the sandbox is the one in docs/how-to/run-the-daemon.md."""
    done = analyze("security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE.replace('.', '')}", unit)
    assert done.returncode == 0, done.stdout[-200:]
    assert f"exposure level for collectived.service: {EXPOSURE} " in done.stdout
    assert f"**{EXPOSURE}**" in (UNIT.parents[1] / "docs" / "how-to" / "run-the-daemon.md").read_text()


def test_the_timeouts_of_the_unit_are_long_enough(unit: Path) -> None:
    """A normal start or stop takes less time than the timeouts of systemd."""
    settings = dict(line.split("=", 1) for line in unit.read_text().splitlines() if re.match(r"\w+=", line))
    stop = NodeConfig("c", "i").shutdown_timeout + server._ENDING + daemon_._LEAVE_REGISTRY + daemon_._LAST_POLL  # noqa: SLF001
    assert int(settings["TimeoutStopSec"]) > stop
    assert int(settings["TimeoutStartSec"]) > LONGEST_CALL


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Listener]:
    """A socket in place of systemd."""
    listener = Listener(str(tmp_path / "notify"))
    with listener.socket:
        yield listener


def test_a_daemon_notifies_the_service_manager(
    tmp_path: Path, moto_server: str, manager: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon reports ready, alive, reloading and stopping; its actions do not inherit the socket."""
    configure(tmp_path, collective=f"unit-{uuid.uuid4().hex[:8]}")
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    monkeypatch.setenv("WATCHDOG_USEC", "600000")
    with daemon(tmp_path, moto_server) as node:
        assert manager.receive(20)[0] == "READY=1"
        assert node.events("daemon.serving")
        assert manager.receive() == ["WATCHDOG=1"]
        crpc = make_crpc({**aws_environment(moto_server), "COLLECTIVE_CONFIG": str(tmp_path)})
        environment = crpc("shell", "run", "command=env", "-I", IDENTITY, "--display", "all").stdout
        assert "AWS_DEFAULT_REGION" in environment
        assert "NOTIFY_SOCKET" not in environment
        assert "WATCHDOG" not in environment
        os.kill(node.process.pid, signal.SIGHUP)
        messages = received_until(manager, "READY=1")
        assert [lines[0] for lines in messages if lines != ["WATCHDOG=1"]] == ["RELOADING=1", "READY=1"]
        os.kill(node.process.pid, signal.SIGTERM)
        received_until(manager, "STOPPING=1")
        assert node.process.wait(30) == 0


def received_until(manager: Listener, word: str) -> list[list[str]]:
    """Return all notifications up to one that begins with `word`."""
    messages: list[list[str]] = []
    while not messages or messages[-1][0] != word:
        messages.append(manager.receive(10))
    return messages


@contextmanager
def within(group: Path) -> Iterator[None]:
    """Run the block in a control group; processes started in it stay there."""
    root = next(path for path in group.parents if path in MOUNTED)
    here = re.findall(r"^0::/(.*)$", Path("/proc/self/cgroup").read_text(), re.MULTILINE)[0]
    (group / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield
    finally:
        (root / here / "cgroup.procs").write_text(str(os.getpid()))


def processes(mark: str) -> list[int]:
    found = subprocess.run(["pgrep", "-f", f"^sleep {mark}"], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


def test_processes_of_a_killed_monitor_are_killed_before_interrupted_is_sent(
    tmp_path: Path, moto_server: str, own_group: Path
) -> None:
    """With a delegated control group, a restarted daemon kills the processes of its predecessor's actions."""
    os.setxattr(own_group, "user.delegate", b"1")  # as systemd does
    configure(tmp_path, collective=f"group-{uuid.uuid4().hex[:8]}")
    mark = f"271828{uuid.uuid4().int % 10**6}"
    words = [
        str(BIN / "crpc"),
        "shell",
        "run",
        f"command=sleep {mark} & sleep {mark}",
        "-I",
        IDENTITY,
        "-t",
        "60",
        "--json",
    ]
    environment = {**aws_environment(moto_server), "COLLECTIVE_CONFIG": str(tmp_path)}
    with within(own_group), daemon(tmp_path, moto_server) as node:
        caller = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)
        wait_until(lambda: len(processes(mark)) == 2, 30)
        (group,) = own_group.glob("action-*")
        members = set((group / "cgroup.procs").read_text().split())
        worker = next(pid for pid in members if parent(pid) not in members)
        os.kill(node.process.pid, signal.SIGSTOP)  # otherwise it kills the group when the monitor dies
        os.waitpid(node.process.pid, os.WUNTRACED)
        os.kill(int(parent(worker)), signal.SIGKILL)  # the monitor, so that it cannot kill its worker
        node.process.kill()
        node.process.wait()
    assert len(processes(mark)) == 2
    with within(own_group), daemon(tmp_path, moto_server):
        document = json.loads(caller.communicate(timeout=60)[0])
        assert processes(mark) == []
        assert [reply["reason"] for reply in document["replies"]] == ["interrupted"]


def parent(pid: str) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
