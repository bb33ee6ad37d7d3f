"""A real daemon under a service manager: what it is told, and the unit that has systemd start it."""

# ruff: noqa: F811 - a fixture that is imported, and asked for by its name

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
from conftest import BIN, Completed, make_crpc
from daemons import IDENTITY, aws_environment, configure, daemon, wait_until
from test_cgroup import MOUNTED, ours  # noqa: F401 - a fixture
from test_service_manager import Listener

from collective.config import NodeConfig
from collective.node import daemon as daemon_
from collective.node import workshop
from collective.transport import LONGEST_CALL

UNIT = Path(__file__).resolve().parents[2] / "conf" / "collectived.service"
EXPOSURE = "8.8"  # of 10; docs/daemon.md says why it is not less


@pytest.fixture
def unit(tmp_path: Path, needs: Callable[[str, str], None]) -> Path:
    """The example unit, with the daemon that is installed here."""
    needs("systemd-analyze", "systemd")
    text = UNIT.read_text()
    assert "/opt/collective/bin/collectived" in text
    path = tmp_path / UNIT.name
    path.write_text(text.replace("/opt/collective/bin", str(BIN)))
    return path


def analyze(*words: str | Path) -> Completed:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False, timeout=60)


def complaints(unit: Path) -> list[str]:
    """Return what systemd finds in a unit; it also reads, and complains of, other units of the machine."""
    done = analyze("verify", "--recursive-errors=no", unit)
    found = [line for line in done.stderr.splitlines() if unit.name in line]
    assert bool(done.returncode) <= bool(found), done.stderr
    return found


def test_the_unit_is_one_that_systemd_understands(unit: Path) -> None:
    """No word of it is unknown to systemd, or means nothing; a misspelt one is noticed."""
    assert complaints(unit) == []
    unit.write_text(unit.read_text().replace("[Service]\n", "[Service]\nRestrat=always\n"))
    [found] = complaints(unit)
    assert "Restrat" in found


def test_the_unit_is_no_more_exposed_than_is_documented(unit: Path) -> None:
    """A line of the sandbox that is lost by accident turns this red; docs/daemon.md has the same number."""
    done = analyze("security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE.replace('.', '')}", unit)
    assert done.returncode == 0, done.stdout[-200:]
    assert f"exposure level for collectived.service: {EXPOSURE} " in done.stdout
    assert f"**{EXPOSURE}**" in (UNIT.parents[1] / "docs" / "daemon.md").read_text()


def test_the_unit_gives_the_daemon_the_time_that_it_takes(unit: Path) -> None:
    """Start and stop are not cut short by systemd's own patience."""
    said = dict(line.split("=", 1) for line in unit.read_text().splitlines() if re.match(r"\w+=", line))
    stop = NodeConfig("c", "i").shutdown_timeout + workshop._ENDING + daemon_._FAREWELL + daemon_._LAST_POLL  # noqa: SLF001
    assert int(said["TimeoutStopSec"]) > stop
    assert int(said["TimeoutStartSec"]) > LONGEST_CALL


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
    told: list[list[str]] = []
    while not told or told[-1][0] != word:
        told.append(manager.hear(10))
    return told


@contextmanager
def within(group: Path) -> Iterator[None]:
    """Have this process be in a control group for a block, and what it starts for good."""
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


def test_what_died_with_its_keeper_is_ended_before_interrupted_is_told(
    tmp_path: Path, moto_server: str, ours: Path
) -> None:
    """With a group of its own, as the unit asks for, a daemon that is killed with all keepers leaves nothing undone."""
    os.setxattr(ours, "user.delegate", b"1")  # as systemd does
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
    with within(ours), daemon(tmp_path, moto_server) as node:
        caller = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)
        wait_until(lambda: len(processes(mark)) == 2, 20)
        (group,) = ours.glob("action-*")
        members = set((group / "cgroup.procs").read_text().split())
        worker = next(pid for pid in members if parent(pid) not in members)
        os.kill(node.process.pid, signal.SIGSTOP)  # or it would end the group when it sees the keeper die
        os.waitpid(node.process.pid, os.WUNTRACED)
        os.kill(int(parent(worker)), signal.SIGKILL)  # the keeper; it may not end what it kept
        node.process.kill()
        node.process.wait()
    assert len(processes(mark)) == 2
    with within(ours), daemon(tmp_path, moto_server):
        said = json.loads(caller.communicate(timeout=60)[0])
        assert processes(mark) == []
        assert [reply["reason"] for reply in said["replies"]] == ["interrupted"]


def parent(pid: str) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
