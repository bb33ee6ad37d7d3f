"""Control groups of actions: with the kernel's own where this machine lets us make one, and what is ours to divide."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from multiprocessing.util import get_temp_dir
from pathlib import Path

import pytest
from support.actions import alive, job, wait_for_files

from collective.node.actions.cgroup import Groups, delegated
from collective.node.actions.runner import Runner


@pytest.fixture
def runner(ours: Path) -> Runner:
    """A runner whose actions have groups."""
    return Runner(Groups(ours))


@pytest.fixture
def pids(tmp_path: Path) -> Path:
    """A folder where each process of a family leaves a file."""
    folder = tmp_path / "pids"
    folder.mkdir()
    return folder


def groups(ours: Path) -> list[str]:
    return sorted(path.name for path in ours.iterdir() if path.is_dir())


def test_an_action_leaves_no_group_behind(runner: Runner, plugin: Path, ours: Path) -> None:
    """Well or badly ended, or out of time."""
    assert runner.run(job(plugin, "fine"), 10).statuscode == 0
    assert runner.run(job(plugin, "dies"), 10).reason == "crashed"
    assert runner.run(job(plugin, "reads"), 10).statuscode == 0
    assert groups(ours) == []


def test_an_action_that_cannot_be_started_leaves_no_group(
    runner: Runner, plugin: Path, ours: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nowhere is room for the fork server's socket: the answer says so, and the next one is well again."""
    with monkeypatch.context() as patch:
        shutil.rmtree(folder := Path(get_temp_dir()))
        patch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
        assert runner.run(job(plugin, "fine"), 10).reason == "crashed"
    assert groups(ours) == []
    assert runner.run(job(plugin, "fine"), 10).statuscode == 0
    folder.mkdir()  # the standard library takes it away at the end


def test_a_fork_bomb_is_ended_at_one_blow(runner: Runner, plugin: Path, ours: Path, pids: Path) -> None:
    """Nothing of it is alive when its deadline is told of, and the group is gone."""
    began = time.monotonic()
    assert runner.run(job(plugin, "bomb", folder=str(pids)), 1.0).reason == "timeout"
    assert time.monotonic() - began < 5
    assert len(list(pids.iterdir())) > 10
    assert alive([int(path.name) for path in pids.iterdir()]) == []
    assert groups(ours) == []


def test_what_a_success_leaves_running_lives_on_in_another_group(runner: Runner, plugin: Path, ours: Path) -> None:
    """The next daemon ends what actions have abandoned, and not what they have left on purpose."""
    pid = runner.run(job(plugin, "leaves", folder=""), 10).data["pid"]
    assert groups(ours) == ["left"]
    assert (ours / "left" / "cgroup.procs").read_text().split() == [str(pid)]
    Groups(ours).end_abandoned()
    assert alive([pid]) == [pid]


def test_what_is_left_in_a_group_within_the_group_lives_on(runner: Runner, plugin: Path, ours: Path) -> None:
    """As container runtimes make them; nothing of the action's group is there for the next daemon to end."""
    pid = runner.run(job(plugin, "nests", folder=str(ours)), 10).data["pid"]
    assert groups(ours) == ["left"]
    Groups(ours).end_abandoned()
    assert alive([pid]) == [pid]


def test_groups_within_an_abandoned_group_are_taken_away_at_once(ours: Path) -> None:
    """A start does not wait for each of them."""
    deeper = ours / "action-1-1" / "deep" / "deeper"
    deeper.mkdir(parents=True)
    began = time.monotonic()
    with subprocess.Popen(["sleep", "600"]) as member:
        (deeper / "cgroup.procs").write_text(str(member.pid))
        Groups(ours).end_abandoned()
    assert groups(ours) == []
    assert time.monotonic() - began < 2


def test_what_died_with_its_keeper_is_ended_by_the_next_daemon(plugin: Path, ours: Path, pids: Path) -> None:
    """Daemon and keeper are killed at once: nobody is left to end the family, but its group tells of it."""
    code = (
        "import os, sys; from pathlib import Path\n"
        "from collective.node.actions.runner import Runner; from collective.node.actions.job import ActionJob\n"
        "from collective.node.actions.cgroup import Groups\n"
        "Runner(Groups(Path(sys.argv[3]))).run(ActionJob(sys.argv[1], 'family', {'folder': sys.argv[2]}, {}), 60)"
    )
    daemon = subprocess.Popen([sys.executable, "-c", code, str(plugin), str(pids), str(ours)])
    members = wait_for_files(pids, 3)
    (group,) = groups(ours)
    worker = int((ours / group / "cgroup.procs").read_text().split()[0])
    keeper = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(daemon.pid, signal.SIGSTOP)  # or it would end the group when it sees the keeper die
    os.waitpid(daemon.pid, os.WUNTRACED)
    for pid in (keeper, daemon.pid):
        os.kill(pid, signal.SIGKILL)
    daemon.wait()
    assert alive(members) == members
    Groups(ours).end_abandoned()
    assert alive(members) == []
    assert groups(ours) == []


def test_the_death_of_a_keeper_alone_ends_the_family_before_it_is_told(
    runner: Runner, plugin: Path, ours: Path, pids: Path
) -> None:
    """The daemon ends the group of a keeper that has died, and answers then."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(runner.run(job(plugin, "family", folder=str(pids)), 60)))
    thread.start()
    members = wait_for_files(pids, 3)
    worker = int((ours / groups(ours)[0] / "cgroup.procs").read_text().split()[0])
    os.kill(int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1]), signal.SIGKILL)
    thread.join(20)
    assert (answers[0].reason, alive(members), groups(ours)) == ("crashed", [], [])


def test_only_a_group_that_was_handed_to_us_is_ours(tmp_path: Path) -> None:
    """Systemd's mark is on it, and the kernel can end it at one blow; the root group is nobody's."""
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


def test_a_group_that_cannot_be_made_is_done_without(tmp_path: Path, plugin: Path) -> None:
    """The keeper ends families by itself, as where there are no control groups."""
    assert Groups(None).make() is None
    assert Groups(tmp_path / "none").make() is None
    assert Runner(Groups(tmp_path / "none")).run(job(plugin, "fine"), 10).statuscode == 0
