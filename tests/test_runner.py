"""Actions run in their own processes, which end when they should: with real processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.actions import alive, job, wait_for_files
from support.waiting import wait_until

from collective.node.actions.channel import Channel
from collective.node.actions.fork_server import ForkServer
from collective.node.actions.leftovers import end_leftovers
from collective.node.actions.runner import Runner


@pytest.fixture
def pids(tmp_path: Path) -> Iterator[Path]:
    """A folder where each process leaves a file; processes that are still alive at the end are killed."""
    folder = tmp_path / "pids"
    folder.mkdir()
    yield folder
    for path in folder.iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(path.name), signal.SIGKILL)


@pytest.fixture(scope="module")
def runner(fork_server: ForkServer) -> Runner:
    """One runner for all tests, as a daemon has one."""
    return Runner(fork_server=fork_server)


def test_an_action_runs_in_its_own_process(runner: Runner, plugin: Path) -> None:
    """An action gets its inputs and returns its outputs in a process that is not the daemon's."""
    answer = runner.run(job(plugin, "fine", package="zsh"), 10)
    assert (answer.statuscode, answer.statusmsg, answer.reason) == (0, "OK", None)
    assert answer.data["package"] == "zsh"
    assert answer.data["pid"] != os.getpid()


def test_returning_none_is_an_empty_result(runner: Runner, plugin: Path) -> None:
    """An action that returns None succeeds without data."""
    assert runner.run(job(plugin, "nothing"), 10).data == {}


@pytest.mark.parametrize(
    ("action", "statuscode", "reason", "message"),
    [
        ("raises", 5, "crashed", "Agent crashed: KeyError: 'colour'; traceback in the node's log"),
        ("raises_plainly", 5, "crashed", "Agent crashed: rspec test; traceback in the node's log"),
        ("aborts", 1, None, "not today"),
        ("invalid", 4, None, "no such user"),
        ("exits", 5, "crashed", "the action called exit(3)"),
        ("exits_hard", 5, "crashed", "the action's process exited with code 3 before it returned a result"),
        ("dies", 5, "crashed", "the action was killed by SIGKILL"),
        ("dies_of_a_real_time_signal", 5, "crashed", "the action was killed by SIGRTMIN+6"),
        ("prints", 5, "crashed", "Printed to standard output: 'debugging\\n' (10 characters"),
        ("returns_a_set", 5, "invalid_output", "data that JSON cannot hold: Object of type set"),
        ("returns_nan", 5, "invalid_output", "data that JSON cannot hold: Out of range float"),
        ("returns_half_a_character", 5, "invalid_output", "data that JSON cannot hold: 'utf-8' codec"),
        ("aborts_strangely", 5, "crashed", "the action raised Seventeen with the invalid status code 17"),
        ("returns_too_much", 5, "crashed", "bytes, more than the limit of 8388608 bytes"),
        ("interrupts", 5, "crashed", "KeyboardInterrupt"),
        ("absent", 5, "crashed", "AttributeError"),
    ],
)
def test_every_failure_of_an_action_becomes_a_status_code(
    runner: Runner, plugin: Path, action: str, statuscode: int, reason: str | None, message: str
) -> None:
    """Each failure has its status code, its reason, and a message that describes it."""
    answer = runner.run(job(plugin, action), 10)
    assert (answer.statuscode, answer.reason) == (statuscode, reason)
    assert message in answer.statusmsg


def test_a_failed_action_keeps_its_data(runner: Runner, plugin: Path) -> None:
    """The data of an action that aborts or prints is part of the result."""
    assert runner.run(job(plugin, "aborts"), 10).data == {"half": 1}
    assert runner.run(job(plugin, "prints"), 10).data == {"done": True}


def test_only_the_beginning_of_printed_output_is_kept(runner: Runner, plugin: Path) -> None:
    """100 MB of output are counted, not kept in memory."""
    answer = runner.run(job(plugin, "prints_much"), 20)
    assert answer.statusmsg.startswith("Printed to standard output: 'xxx")
    assert "x' (100000000 characters; return or log them)" in answer.statusmsg
    assert len(answer.statusmsg) < 400
    assert answer.data["peak_mb"] < 80


def test_the_output_of_a_command_is_not_an_error(runner: Runner, plugin: Path) -> None:
    """Only output of the action itself is an error; that of its commands goes to the log."""
    assert runner.run(job(plugin, "command_prints"), 10).statuscode == 0


def test_a_large_result_arrives_complete(runner: Runner, plugin: Path) -> None:
    """A result larger than the buffer of a pipe arrives complete."""
    assert len(runner.run(job(plugin, "returns_much"), 10).data["text"]) == 7 * 1024 * 1024


def test_standard_input_is_empty(runner: Runner, plugin: Path) -> None:
    """An action that reads its standard input does not block."""
    assert runner.run(job(plugin, "reads"), 10).data == {"text": ""}


def test_a_timeout_kills_all_processes_of_the_action(runner: Runner, plugin: Path, tmp_path: Path) -> None:
    """Child, grandchild and a detached process are dead before `timeout` is reported; this is tried 20 times."""
    for turn in range(20):
        folder = tmp_path / f"turn{turn}"
        folder.mkdir()
        began = time.monotonic()
        answer = runner.run(job(plugin, "spawn", folder=str(folder)), 0.4)
        assert (answer.statuscode, answer.reason) == (5, "timeout")
        assert time.monotonic() - began < 5
        assert alive([int(path.name) for path in folder.iterdir()]) == []


def test_a_stop_kills_all_processes_of_the_action(runner: Runner, plugin: Path, pids: Path) -> None:
    """A stop kills all processes of an action before `interrupted` is reported."""
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(runner.run(job(plugin, "spawn", folder=str(pids)), 60)))
    thread.start()
    members = wait_for_files(pids, 3)
    runner.stop()
    thread.join(30)
    assert (answers[0].statuscode, answers[0].reason) == (5, "interrupted")
    assert alive(members) == []


def test_a_stop_tolerates_actions_that_are_just_ending(runner: Runner, plugin: Path) -> None:
    """A stop that meets a monitor that has just sent its result raises nothing, and each action has a result."""
    ended, reasons = threading.Event(), list[str | None]()

    def work() -> None:
        while not ended.is_set():
            reasons.append(runner.run(job(plugin, "nothing"), 10).reason)

    def stopped_often() -> bool:
        runner.stop()
        return len(reasons) >= 100

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    try:
        wait_until(stopped_often, 60)
    finally:
        ended.set()
        for worker in workers:
            worker.join()
    assert set(reasons) <= {None, "interrupted"}


def test_a_process_that_a_successful_action_leaves_lives_on(runner: Runner, plugin: Path, pids: Path) -> None:
    """A service that an action has started is not part of the action."""
    answer = runner.run(job(plugin, "leaves", folder=str(pids)), 10)
    (pids / str(answer.data["pid"])).touch()
    assert alive([answer.data["pid"]]) == [answer.data["pid"]]


def test_a_small_fork_bomb_is_ended(runner: Runner, plugin: Path, pids: Path) -> None:
    """Processes that fork while they are being killed do not outlive the timeout."""
    answer = runner.run(job(plugin, "bomb", folder=str(pids)), 1.0)
    assert answer.reason == "timeout"
    assert alive([int(path.name) for path in pids.iterdir()]) == []


def test_many_generations_of_processes_are_killed(plugin: Path, pids: Path) -> None:
    """There are more generations than Python's recursion limit, which is lowered here."""
    connection, remote = Channel.pair()
    code = (
        "import socket, sys; from collective.node.actions.channel import Channel\n"
        "from collective.node.actions.job import ActionJob, TimeLimit\n"
        "from collective.node.actions.monitor import monitor_action; "
        "sys.setrecursionlimit(200); "
        "channel = Channel(socket.socket(fileno=int(sys.argv[1]))); "
        "monitor_action(channel, ActionJob(sys.argv[2], 'chain', {'folder': sys.argv[3]}, {}), TimeLimit(60, 60))"
    )
    command = [sys.executable, "-c", code, str(remote.fileno()), str(plugin), str(pids)]
    with contextlib.closing(connection), subprocess.Popen(command, pass_fds=[remote.fileno()]) as monitor:
        remote.close()
        members = wait_for_files(pids, 251)
        connection.send(b"stop")
        assert json.loads(connection.receive(1000))["reason"] == "interrupted"
        assert monitor.wait(60) == 0
    assert alive(members) == []


def test_the_death_of_the_daemon_kills_all_processes_of_the_action(plugin: Path, pids: Path) -> None:
    """After SIGKILL to the process with the runner, nothing of the action is left."""
    code = (
        "import sys; from collective.node.actions.runner import Runner\n"
        "from collective.node.actions.job import ActionJob, TimeLimit\n"
        "Runner().run(ActionJob(sys.argv[1], 'spawn', {'folder': sys.argv[2]}, {}), 60)"
    )
    daemon = subprocess.Popen([sys.executable, "-c", code, str(plugin), str(pids)])
    members = wait_for_files(pids, 3)
    assert len(alive(members)) == 3
    daemon.kill()
    daemon.wait()
    wait_until(lambda: alive(members) == [], 10, lambda: f"alive: {alive(members)}")


def test_an_action_can_be_interrupted_under_nohup(plugin: Path) -> None:
    """`nohup collectived &` ignores the terminal's signals; the commands of actions do not."""
    code = (
        "import sys; from collective.node.actions.runner import Runner\n"
        "from collective.node.actions.job import ActionJob, TimeLimit\n"
        "print(Runner().run(ActionJob(sys.argv[1], 'ignored', {}, {}), 60).data['mask'])"
    )
    shell = 'trap "" HUP INT QUIT; exec "$@"'
    words = ["/bin/sh", "-c", shell, "sh", sys.executable, "-c", code, str(plugin)]
    mask = int(subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout)
    assert not any(mask >> (number - 1) & 1 for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT))


def test_a_killed_fork_server_is_replaced(runner: Runner, fork_server: ForkServer, plugin: Path, pids: Path) -> None:
    """A new fork server is started, and running actions are not affected."""
    assert runner.run(job(plugin, "fine"), 10).statuscode == 0
    running = threading.Thread(target=lambda: runner.run(job(plugin, "spawn", folder=str(pids)), 60))
    running.start()
    members = wait_for_files(pids, 3)
    killed = fork_server.pid
    assert killed
    os.kill(killed, signal.SIGKILL)
    assert runner.run(job(plugin, "fine", a=1), 10).data["a"] == 1
    assert fork_server.pid not in (None, killed)
    assert len(alive(members)) == 3
    runner.stop()
    running.join(30)
    assert alive(members) == []


def monitor_of(members: list[int]) -> int:
    """Return the monitor of an action's processes: the leader of the session that most of them are in."""
    return Counter(map(os.getsid, members)).most_common(1)[0][0]


def test_the_death_of_the_monitor_alone_kills_all_processes_of_the_action(
    runner: Runner, plugin: Path, pids: Path
) -> None:
    """The reply says that they were killed, so they must be dead."""
    answers: list[Any] = []
    running = threading.Thread(target=lambda: answers.append(runner.run(job(plugin, "spawn", folder=str(pids)), 60)))
    running.start()
    members = wait_for_files(pids, 3)
    os.kill(monitor_of(members), signal.SIGKILL)
    running.join(30)
    assert (answers[0].reason, answers[0].statusmsg) == (
        "crashed",
        "the action's monitor process died, and all its processes were killed",
    )
    assert alive(members) == []


def test_processes_of_a_killed_daemon_and_monitor_are_found_by_the_next_daemon(plugin: Path, pids: Path) -> None:
    """Without a control group, the token in their environment is what is left."""
    code = (
        "import sys; from collective.node.actions.runner import Runner\n"
        "from collective.node.actions.job import ActionJob, TimeLimit\n"
        "Runner().run(ActionJob(sys.argv[1], 'spawn', {'folder': sys.argv[2]}, {}, token='abc123'), 60)"
    )
    daemon = subprocess.Popen([sys.executable, "-c", code, str(plugin), str(pids)])
    members = wait_for_files(pids, 3)
    together = (monitor_of(members), daemon.pid)
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in together:
            os.kill(pid, number)
    daemon.wait()
    assert end_leftovers("another") == 0
    assert len(alive(members)) == 3
    assert end_leftovers("abc123") == 3
    assert alive(members) == []


def test_a_stopped_fork_server_is_replaced(plugin: Path) -> None:
    """An action runs if there is time for it, the next one runs, and the process with the runner can end."""
    code = (
        "import os, signal, sys, time; from collective.node.actions.fork_server import ForkServer\n"
        "from collective.node.actions.runner import Runner; from collective.node.actions.job import ActionJob\n"
        "server = ForkServer(); runner, job = Runner(None, server), ActionJob(sys.argv[1], 'fine', {}, {})\n"
        "print(runner.run(job, 10).statuscode)\n"
        "os.kill(server.pid, signal.SIGSTOP); began = time.monotonic()\n"
        "print(runner.run(job, 15).statuscode, time.monotonic() - began < 15)\n"
        "os.kill(server.pid, signal.SIGSTOP); print(runner.run(job, 3).reason)\n"
        "print(runner.run(job, 10).statuscode)\n"
        "os.kill(server.pid, signal.SIGSTOP); runner.close()"
    )
    command = [sys.executable, "-c", code, str(plugin)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=40, check=True)
    assert done.stdout == "0\n0 True\ntimeout\n0\n"


def test_a_fork_server_stopped_while_an_action_runs_does_not_delay_its_result(
    runner: Runner, fork_server: ForkServer, plugin: Path, pids: Path
) -> None:
    """The monitor sends the result itself."""
    runner.run(job(plugin, "fine"), 10)
    pid = fork_server.pid
    assert pid
    answers: list[Any] = []
    running = threading.Thread(
        target=lambda: answers.append(runner.run(job(plugin, "waits", folder=str(pids), seconds=1), 10))
    )
    running.start()
    wait_for_files(pids, 1)
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    running.join(30)
    os.kill(pid, signal.SIGCONT)
    assert answers[0].statuscode == 0
    assert time.monotonic() - began < 5


def test_what_a_worker_writes_is_bounded(plugin: Path) -> None:
    """500 MB written to the worker's pipe, or two million values, do not grow the process with the runner."""
    code = (
        "import sys; from collective.node.actions.runner import Runner\n"
        "from collective.node.actions.job import ActionJob; runner = Runner()\n"
        "for name, data in (('writes_much', {'size': 500_000_000}), ('returns_many_values', {})):\n"
        "    result = runner.run(ActionJob(sys.argv[1], name, data, {}), 60)\n"
        "    print(result.reason, result.statusmsg)\n"
        # ru_maxrss would begin with the memory of the process that forked.
        "status = open('/proc/self/status').read()\n"
        "print(int(status.partition('VmHWM:')[2].split()[0]) // 1024)"
    )
    command = [sys.executable, "-c", code, str(plugin)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    first, second, memory = done.stdout.splitlines()
    assert first == "crashed the action wrote more than the limit of 8388608 bytes"
    assert second == "crashed the action's result cannot be used: result: more than 500000 values"
    assert int(memory) < 100


def test_many_actions_run_at_the_same_time(runner: Runner, plugin: Path) -> None:
    """The daemon's threads do not disturb each other's actions."""
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
