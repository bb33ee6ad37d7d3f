"""Control groups of actions, with the kernel's own if this machine allows it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support.actions import alive, job, wait_for_files

from collective.node.actions.fork_server import ForkServer
from collective.node.actions.groups import Groups, delegated
from collective.node.actions.runner import Runner


@pytest.fixture
def runner(own_group: Path, fork_server: ForkServer) -> Runner:
    """A runner whose actions have control groups."""
    return Runner(Groups(own_group), fork_server)


@pytest.fixture
def pids(tmp_path: Path) -> Path:
    """A folder where each process leaves a file."""
    folder = tmp_path / "pids"
    folder.mkdir()
    return folder


def groups(own_group: Path) -> list[str]:
    return sorted(path.name for path in own_group.iterdir() if path.is_dir())


def test_an_action_leaves_no_group_behind(runner: Runner, plugin: Path, own_group: Path) -> None:
    """Neither success, nor failure, nor timeout of an action leaves a control group."""
    assert runner.run(job(plugin, "fine"), 10).statuscode == 0
    assert runner.run(job(plugin, "dies"), 10).reason == "crashed"
    assert runner.run(job(plugin, "reads"), 10).statuscode == 0
    assert groups(own_group) == []


def test_an_action_that_cannot_be_started_leaves_no_group(
    plugin: Path, own_group: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an interpreter for the fork server the result is an error, and the next action works again."""
    runner = Runner(Groups(own_group))
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/missing/python")
        assert runner.run(job(plugin, "fine"), 10).reason == "crashed"
    assert groups(own_group) == []
    assert runner.run(job(plugin, "fine"), 10).statuscode == 0


def test_a_fork_bomb_is_killed_atomically(runner: Runner, plugin: Path, own_group: Path, pids: Path) -> None:
    """No process of a fork bomb is alive when its timeout is reported, and its control group is gone."""
    began = time.monotonic()
    assert runner.run(job(plugin, "bomb", folder=str(pids)), 1.0).reason == "timeout"
    assert time.monotonic() - began < 5
    assert len(list(pids.iterdir())) > 10
    assert alive([int(path.name) for path in pids.iterdir()]) == []
    assert groups(own_group) == []


def test_a_process_that_a_successful_action_leaves_moves_to_another_group(
    runner: Runner, plugin: Path, own_group: Path
) -> None:
    """The next daemon kills abandoned actions, but not processes that were left running on purpose."""
    pid = runner.run(job(plugin, "leaves", folder=""), 10).data["pid"]
    assert groups(own_group) == ["left"]
    assert (own_group / "left" / "cgroup.procs").read_text().split() == [str(pid)]
    Groups(own_group).end_abandoned()
    assert alive([pid]) == [pid]


def test_a_process_left_in_a_nested_group_lives_on(runner: Runner, plugin: Path, own_group: Path) -> None:
    """Container runtimes create nested groups; the next daemon finds nothing to kill in the action's group."""
    pid = runner.run(job(plugin, "nests", folder=str(own_group)), 10).data["pid"]
    assert groups(own_group) == ["left"]
    Groups(own_group).end_abandoned()
    assert alive([pid]) == [pid]


def test_nested_groups_of_an_abandoned_group_are_removed_together(own_group: Path) -> None:
    """The start of a daemon does not wait for each nested group of an abandoned action."""
    deeper = own_group / "action-1-1" / "deep" / "deeper"
    deeper.mkdir(parents=True)
    began = time.monotonic()
    with subprocess.Popen(["sleep", "600"]) as member:
        (deeper / "cgroup.procs").write_text(str(member.pid))
        Groups(own_group).end_abandoned()
    assert groups(own_group) == []
    assert time.monotonic() - began < 4  # one wait takes 5 s


def test_the_next_daemon_kills_actions_without_a_monitor(plugin: Path, own_group: Path, pids: Path) -> None:
    """If daemon and monitor are killed together, the action's processes live on, and its group shows which they are."""
    code = (
        "import os, sys; from pathlib import Path\n"
        "from collective.node.actions.runner import Runner; from collective.node.actions.job import ActionJob\n"
        "from collective.node.actions.groups import Groups\n"
        "Runner(Groups(Path(sys.argv[3]))).run(ActionJob(sys.argv[1], 'spawn', {'folder': sys.argv[2]}, {}), 60)"
    )
    daemon = subprocess.Popen([sys.executable, "-c", code, str(plugin), str(pids), str(own_group)])
    members = wait_for_files(pids, 3)
    (group,) = groups(own_group)
    worker = int((own_group / group / "cgroup.procs").read_text().split()[0])
    monitor = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(daemon.pid, signal.SIGSTOP)  # otherwise it would kill the group when the monitor dies
    os.waitpid(daemon.pid, os.WUNTRACED)
    for pid in (monitor, daemon.pid):
        os.kill(pid, signal.SIGKILL)
    daemon.wait()
    assert alive(members) == members
    Groups(own_group).end_abandoned()
    assert alive(members) == []
    assert groups(own_group) == []


def test_the_death_of_a_monitor_kills_the_action_before_it_is_reported(
    runner: Runner, plugin: Path, own_group: Path, pids: Path
) -> None:
    """The daemon kills the group of a monitor that has died, and reports the result after that."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(runner.run(job(plugin, "spawn", folder=str(pids)), 60)))
    thread.start()
    members = wait_for_files(pids, 3)
    worker = int((own_group / groups(own_group)[0] / "cgroup.procs").read_text().split()[0])
    os.kill(int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGKILL)
    thread.join(30)
    assert (answers[0].reason, alive(members), groups(own_group)) == ("crashed", [], [])


def test_only_a_delegated_group_is_used(tmp_path: Path) -> None:
    """A control group is used if it has systemd's mark and `cgroup.kill`; the root group never is."""
    own = tmp_path / "own"
    unit = tmp_path / "mounted" / "system.slice" / "collectived.service"
    unit.mkdir(parents=True)
    own.write_text("3:cpu:/other\n0::/system.slice/collectived.service\n")
    mounted = [tmp_path / "nowhere", tmp_path / "mounted"]
    (unit / "cgroup.kill").touch()
    assert delegated(mounted, own) is None
    try:
        os.setxattr(unit, "user.delegate", b"1")
    except OSError:
        pytest.skip(f"no extended attributes below {tmp_path}")
    assert delegated(mounted, own) == unit
    (unit / "cgroup.kill").unlink()
    assert delegated(mounted, own) is None
    own.write_text("0::/\n")
    assert delegated(mounted, own) is None


def test_actions_run_without_a_group_if_none_can_be_created(tmp_path: Path, plugin: Path) -> None:
    """The monitor then kills processes one by one, as on machines without control groups."""
    assert Groups(None).make() is None
    assert Groups(tmp_path / "none").make() is None
    assert Runner(Groups(tmp_path / "none")).run(job(plugin, "fine"), 10).statuscode == 0
