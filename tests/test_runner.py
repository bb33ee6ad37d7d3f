"""Actions run in families of processes that end when they should: with real processes."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing.util import get_temp_dir
from pathlib import Path
from typing import Any

import pytest
from support.actions import alive, job, wait_for_files

from collective.node.actions.runner import Runner


@pytest.fixture
def pids(tmp_path: Path) -> Iterator[Path]:
    """A folder where each process of a family leaves a file; what still lives at the end is killed."""
    folder = tmp_path / "pids"
    folder.mkdir()
    yield folder
    for path in folder.iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(path.name), signal.SIGKILL)


@pytest.fixture(scope="module")
def runner() -> Runner:
    """One runner, as a daemon has one."""
    return Runner()


def test_an_action_runs_in_a_process_of_its_own(runner: Runner, plugin: Path) -> None:
    """Its data goes in and comes out; its process is not ours."""
    answer = runner.run(job(plugin, "fine", package="zsh"), 10)
    assert (answer.statuscode, answer.statusmsg, answer.reason) == (0, "OK", None)
    assert answer.data["package"] == "zsh"
    assert answer.data["pid"] != os.getpid()


def test_nothing_is_an_empty_reply(runner: Runner, plugin: Path) -> None:
    """An action that returns nothing is fine, and has no data."""
    assert runner.run(job(plugin, "nothing"), 10).data == {}


@pytest.mark.parametrize(
    ("action", "statuscode", "reason", "said"),
    [
        ("raises", 5, "crashed", "KeyError: 'colour'"),
        ("raises_plainly", 5, "crashed", "rspec test"),
        ("aborts", 1, None, "not today"),
        ("invalid", 4, None, "no such user"),
        ("exits", 5, "crashed", "the action called exit(3)"),
        ("exits_hard", 5, "crashed", "the action's process exited with code 3 before it returned a result"),
        ("dies", 5, "crashed", "the action was killed by SIGKILL"),
        ("dies_of_a_nameless_signal", 5, "crashed", "the action was killed by signal 40"),
        ("prints", 5, "crashed", "the action printed 10 characters to standard output: 'debugging\\n'"),
        ("returns_a_set", 5, "crashed", "data that JSON cannot hold: Object of type set"),
        ("returns_nan", 5, "crashed", "data that JSON cannot hold: Out of range float"),
        ("returns_half_a_character", 5, "crashed", "data that JSON cannot hold: 'utf-8' codec"),
        ("aborts_strangely", 5, "crashed", "the action raised Seventeen with the invalid status code 17"),
        ("returns_too_much", 5, "crashed", "bytes, more than the limit of 8388608 bytes"),
        ("interrupts", 5, "crashed", "KeyboardInterrupt"),
        ("absent", 5, "crashed", "AttributeError"),
    ],
)
def test_what_an_action_does_wrong_becomes_a_status(
    runner: Runner, plugin: Path, action: str, statuscode: int, reason: str | None, said: str
) -> None:
    """Every odd end has its status code, its reason, and a message that says what happened."""
    answer = runner.run(job(plugin, action), 10)
    assert (answer.statuscode, answer.reason) == (statuscode, reason)
    assert said in answer.statusmsg


def test_what_an_aborted_or_printing_action_knew_is_kept(runner: Runner, plugin: Path) -> None:
    """The data of a failure arrives as well."""
    assert runner.run(job(plugin, "aborts"), 10).data == {"half": 1}
    assert runner.run(job(plugin, "prints"), 10).data == {"done": True}


def test_an_action_that_prints_without_end_holds_only_the_beginning(runner: Runner, plugin: Path) -> None:
    """100 MB of it are counted, not kept."""
    answer = runner.run(job(plugin, "prints_much"), 20)
    assert answer.statusmsg.startswith("the action printed 100000000 characters to standard output: 'xxx")
    assert len(answer.statusmsg) < 400
    assert answer.data["peak_mb"] < 80


def test_what_its_commands_print_does_no_harm(runner: Runner, plugin: Path) -> None:
    """Only the action's own printing is a mistake; a command's output goes to the log."""
    assert runner.run(job(plugin, "command_prints"), 10).statuscode == 0


def test_a_large_answer_arrives_whole(runner: Runner, plugin: Path) -> None:
    """More than a pipe holds at once."""
    assert len(runner.run(job(plugin, "returns_much"), 10).data["text"]) == 7 * 1024 * 1024


def test_standard_input_is_empty(runner: Runner, plugin: Path) -> None:
    """An action that reads its input does not wait for a terminal."""
    assert runner.run(job(plugin, "reads"), 10).data == {"text": ""}


def test_a_deadline_ends_the_whole_family_twenty_times(runner: Runner, plugin: Path, tmp_path: Path) -> None:
    """When `timeout` is said, child, grandchild and the one that detached itself are dead already."""
    for turn in range(20):
        folder = tmp_path / f"turn{turn}"
        folder.mkdir()
        began = time.monotonic()
        answer = runner.run(job(plugin, "family", folder=str(folder)), 0.4)
        assert (answer.statuscode, answer.reason) == (5, "timeout")
        assert time.monotonic() - began < 5
        assert alive([int(path.name) for path in folder.iterdir()]) == []


def test_stopping_ends_the_whole_family_and_says_interrupted(runner: Runner, plugin: Path, pids: Path) -> None:
    """What the daemon must end at shutdown is answered, after it is dead."""
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(runner.run(job(plugin, "family", folder=str(pids)), 60)))
    thread.start()
    members = wait_for_files(pids, 3)
    runner.stop()
    thread.join(20)
    assert (answers[0].statuscode, answers[0].reason) == (5, "interrupted")
    assert alive(members) == []


def test_stopping_bears_actions_that_end_by_themselves(runner: Runner, plugin: Path) -> None:
    """A keeper that has just answered is not there to be told."""
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            runner.run(job(plugin, "nothing"), 10)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(200):
            runner.stop()
            threading.Event().wait(0.01)
    finally:
        ended.set()
        for worker in workers:
            worker.join()


def test_what_a_success_leaves_running_lives_on(runner: Runner, plugin: Path, pids: Path) -> None:
    """A service that an action has started is not part of the action."""
    answer = runner.run(job(plugin, "leaves", folder=str(pids)), 10)
    (pids / str(answer.data["pid"])).touch()
    assert alive([answer.data["pid"]]) == [answer.data["pid"]]


def test_a_small_fork_bomb_is_ended(runner: Runner, plugin: Path, pids: Path) -> None:
    """Processes that fork while they are being killed do not outlive the deadline."""
    answer = runner.run(job(plugin, "bomb", folder=str(pids)), 1.0)
    assert answer.reason == "timeout"
    assert alive([int(path.name) for path in pids.iterdir()]) == []


def test_a_family_of_many_generations_is_ended(plugin: Path, pids: Path) -> None:
    """More of them than Python lets functions call each other: here of a keeper that is allowed few calls."""
    ours, theirs = multiprocessing.Pipe()
    code = (
        "import sys; from multiprocessing.connection import Connection\n"
        "from collective.node.actions.job import ActionJob\n"
        "from collective.node.actions.monitor import monitor_action; "
        "sys.setrecursionlimit(200); "
        "monitor_action(Connection(int(sys.argv[1])), ActionJob(sys.argv[2], 'chain', {'folder': sys.argv[3]}, {}), 60)"
    )
    command = [sys.executable, "-c", code, str(theirs.fileno()), str(plugin), str(pids)]
    with ours, subprocess.Popen(command, pass_fds=[theirs.fileno()]) as keeper:
        theirs.close()
        family = wait_for_files(pids, 251)
        ours.send_bytes(b"stop")
        assert json.loads(ours.recv_bytes())["reason"] == "interrupted"
        assert keeper.wait(10) == 0
    assert alive(family) == []


def test_the_death_of_the_daemon_ends_the_whole_family(plugin: Path, pids: Path) -> None:
    """SIGKILL to the process that holds the runner leaves nothing of the action."""
    code = (
        "import sys; from collective.node.actions.runner import Runner\n"
        "from collective.node.actions.job import ActionJob\n"
        "Runner().run(ActionJob(sys.argv[1], 'family', {'folder': sys.argv[2]}, {}), 60)"
    )
    daemon = subprocess.Popen([sys.executable, "-c", code, str(plugin), str(pids)])
    members = wait_for_files(pids, 3)
    assert len(alive(members)) == 3
    daemon.kill()
    daemon.wait()
    until = time.monotonic() + 10
    while alive(members) and time.monotonic() < until:
        threading.Event().wait(0.02)
    assert alive(members) == []


def test_an_action_can_be_interrupted_whoever_started_the_daemon(plugin: Path) -> None:
    """`nohup collectived &` ignores the signals of a terminal; what actions start does not."""
    code = (
        "import sys; from collective.node.actions.runner import Runner\n"
        "from collective.node.actions.job import ActionJob\n"
        "print(Runner().run(ActionJob(sys.argv[1], 'ignored', {}, {}), 60).data['mask'])"
    )
    shell = 'trap "" HUP INT QUIT; exec "$@"'
    words = ["/bin/sh", "-c", shell, "sh", sys.executable, "-c", code, str(plugin)]
    mask = int(subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout)
    assert not any(mask >> (number - 1) & 1 for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT))


def test_actions_go_on_when_the_temporary_folder_is_emptied(runner: Runner, plugin: Path, pids: Path) -> None:
    """The fork server's socket is there: a new one takes its place, and what runs already is not touched."""
    assert runner.run(job(plugin, "fine"), 10).statuscode == 0
    running = threading.Thread(target=lambda: runner.run(job(plugin, "family", folder=str(pids)), 60))
    running.start()
    family = wait_for_files(pids, 3)
    folder = Path(get_temp_dir())
    shutil.rmtree(folder)
    assert runner.run(job(plugin, "fine", a=1), 10).data["a"] == 1
    assert len(alive(family)) == 3
    runner.stop()
    running.join(10)
    assert alive(family) == []
    folder.mkdir()  # the standard library takes it away at the end


def test_many_run_at_once(runner: Runner, plugin: Path) -> None:
    """Threads of the daemon do not disturb each other's actions."""
    answers: list[Any] = []
    threads = [
        threading.Thread(target=lambda n=number: answers.append(runner.run(job(plugin, "fine", number=n), 20)))
        for number in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.data["number"] for answer in answers) == list(range(16))
