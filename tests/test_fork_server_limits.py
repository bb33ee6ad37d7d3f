"""A fork server under bad conditions: it is replaced, each action has one result, and nothing is passed on."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.actions import job
from support.footprint import footprint
from support.waiting import wait_until

from collective.node.actions import fork_server as fork_server_module
from collective.node.actions.fork_server import ForkServer
from collective.node.actions.job import ActionResult
from collective.node.actions.runner import Runner

CHANGES = """
import builtins, gc, json, locale, os, random, resource, signal, sys, tempfile, threading, time

def state():
    soft = {name: getattr(resource, name) for name in ("RLIMIT_NOFILE", "RLIMIT_CORE", "RLIMIT_FSIZE", "RLIMIT_CPU")}
    umask = os.umask(0)
    os.umask(umask)
    variables = {name: value for name, value in os.environ.items() if name != "COLLECTIVE_REQUEST"}
    return {
        "environment": variables, "umask": umask, "folder": os.getcwd(), "limits": {
            name: resource.getrlimit(number) for name, number in soft.items()},
        "signals": {number: str(signal.getsignal(number)) for number in range(1, 32)},
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])), "timer": signal.getitimer(signal.ITIMER_REAL),
        "locale": locale.setlocale(locale.LC_ALL), "path": sys.path[:], "recursion": sys.getrecursionlimit(),
        "nice": os.nice(0), "threads": threading.active_count(), "temporary": tempfile.tempdir,
        "json": json.dumps([1]), "open": builtins.open.__module__, "modules": "made_up" in sys.modules,
        "files": len(os.listdir("/proc/self/fd")), "zone": time.tzname, "groups": os.getgroups(),
    }

def change():
    os.environ.clear()
    os.environ.update(TZ="Asia/Tokyo", LC_ALL="C", MADE_UP="1")
    time.tzset()
    os.umask(0o077)
    os.chdir("/tmp")
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    signal.setitimer(signal.ITIMER_REAL, 3600)
    locale.setlocale(locale.LC_ALL, "C.UTF-8")
    sys.path.insert(0, "/made/up")
    sys.setrecursionlimit(5000)
    os.nice(1)
    tempfile.tempdir = "/made/up"
    builtins.open = None
    json.dumps.__defaults__ = None
    sys.modules["made_up"] = sys
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    os.open("/", os.O_RDONLY)
    return {}

def draws(): return {"number": random.random()}
"""
SITE = "sitecustomize.py"  # imported at the start of each interpreter that has its folder in PYTHONPATH


@pytest.fixture
def server() -> Iterator[ForkServer]:
    """A fork server of its own, so that the others' stays as it is."""
    own = ForkServer()
    yield own
    own.close()


@pytest.fixture
def runner(server: ForkServer) -> Runner:
    """A runner with this fork server."""
    return Runner(fork_server=server)


def run(runner: Runner, plugin: Path, action: str = "fine", **data: Any) -> ActionResult:
    """Run an action of the plugin."""
    return runner.run(job(plugin, action, **data), 10)


def test_no_change_of_an_action_reaches_the_next_one(tmp_path: Path, runner: Runner) -> None:
    """Environment, folder, limits, signals, locale, modules and the rest of a process are as for the first action."""
    path = tmp_path / "changes.py"
    path.write_text(CHANGES)
    before = run(runner, path, "state")
    assert before.statuscode == 0
    assert run(runner, path, "change").reason == "crashed"  # without `open` nothing can be returned
    assert run(runner, path, "state") == before
    assert run(runner, path, "draws") != run(runner, path, "draws")


def test_a_fork_server_without_descriptors_is_replaced(
    runner: Runner, server: ForkServer, plugin: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever step meets the limit, each action has a result, and the cause is in the log."""
    for room in range(8):
        assert run(runner, plugin).statuscode == 0
        pid = server.pid
        assert pid
        count = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (count + room, count + room))
        result = run(runner, plugin)
        assert result.statuscode == 0 or result.reason == "crashed"
        server.close()
    assert run(runner, plugin).statuscode == 0
    assert "Too many open files" in capfd.readouterr().err


def test_a_daemon_without_descriptors_refuses_and_recovers(plugin: Path) -> None:
    """Each action that cannot be started says why; afterwards no descriptor is missing and actions run."""
    code = (
        "import os, resource, sys; from collective.node.actions.runner import Runner\n"
        "from collective.node.actions.job import ActionJob\n"
        "runner, job = Runner(), ActionJob(sys.argv[1], 'fine', {}, {})\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)); runner.run(job, 10)\n"
        "count = len(os.listdir('/proc/self/fd')) - 1\n"
        "for room in range(9):\n"
        "    opened = [os.open('/dev/null', os.O_RDONLY) for _ in range(64 - count - room)]\n"
        "    print(runner.run(job, 10).statusmsg)\n"
        "    any(map(os.close, opened))\n"
        "print(runner.run(job, 10).statusmsg, len(os.listdir('/proc/self/fd')) - 1 - count)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(plugin)], capture_output=True, text=True, timeout=100, check=True
    )
    *limited, last = done.stdout.splitlines()
    assert last == "OK 0", done.stderr
    assert limited[-1] == "OK"
    assert [line for line in limited if line != "OK" and "Too many open files" not in line] == []


def test_a_fork_server_without_memory_is_reported(runner: Runner, server: ForkServer, plugin: Path) -> None:
    """An action that cannot be started for lack of memory says so; the next fork server runs actions again."""
    run(runner, plugin)
    pid = server.pid
    assert pid
    resource.prlimit(pid, resource.RLIMIT_AS, (1 << 20, 1 << 20))
    result = run(runner, plugin)
    assert result.statuscode == 0 or result.reason == "crashed"
    server.close()
    assert run(runner, plugin).statuscode == 0


@pytest.mark.parametrize(
    ("content", "statuscode"),
    [
        ("import os; os._exit(1)", 5),
        ("import os; os.kill(os.getpid(), 11)", 5),
        ("import time; time.sleep(600)", 5),
        ("raise ValueError('broken')", 0),  # the interpreter itself goes on
        ("print('hello'); import sys; print('hello', file=sys.stderr)", 0),
        ("import threading, time; threading.Thread(target=time.sleep, args=(600,), daemon=True).start()", 0),
    ],
)
def test_what_a_fork_server_meets_at_its_start_is_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runner: Runner, plugin: Path, content: str, statuscode: int
) -> None:
    """One that exits, crashes or hangs is reported; one that prints or has threads runs actions. The next one works."""
    (tmp_path / SITE).write_text(content)
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        if "sleep(600)" in content and statuscode:
            patch.setattr(fork_server_module, "BEGIN_LIMIT", 0.5)
        result = run(runner, plugin)
    assert result.statuscode == statuscode
    if statuscode:
        assert result.statusmsg.startswith("the action's monitor process cannot be started")
    else:
        assert result.data.keys() == {"pid"}
    (tmp_path / SITE).unlink()
    assert run(runner, plugin).statuscode == 0


def test_an_action_runs_the_code_that_was_checked(tmp_path: Path, runner: Runner, plugin: Path) -> None:
    """A fork server that has run an older version of an agent runs the newer one, without a new process."""
    path = tmp_path / "versions.py"
    for version in (1, 2):
        path.write_text(f"def version(): return {{'version': {version}}}")
        assert run(runner, path, "version").data == {"version": version}


def test_an_agent_that_fails_at_its_import_harms_no_other(tmp_path: Path, runner: Runner, plugin: Path) -> None:
    """One that hangs, crashes, or starts threads and processes when it is imported has its own result."""
    hangs, dies, threads = (tmp_path / f"{name}.py" for name in ("hangs", "dies", "threads"))
    hangs.write_text("import time\ntime.sleep(600)")
    dies.write_text("import os\nos.kill(os.getpid(), 11)")
    lines = ("import subprocess, threading, time", "threading.Thread(target=time.sleep, args=(600,)).start()")
    threads.write_text("\n".join([*lines, "child = subprocess.Popen(['sleep', '600'])", "def fine(): return {}"]))
    assert runner.run(job(hangs, "fine"), 0.5).reason == "timeout"
    assert run(runner, dies).statusmsg == "the action was killed by SIGSEGV"
    assert run(runner, threads).statuscode == 0
    assert run(runner, plugin).statuscode == 0


def test_many_actions_leave_nothing_in_a_fork_server(runner: Runner, server: ForkServer, plugin: Path) -> None:
    """After a hundred actions its descriptors, processes and memory are as before."""
    nothing = job(plugin, "nothing")

    def repeat(count: int) -> None:
        assert {runner.run(nothing, 10).statuscode for _ in range(count)} == {0}

    repeat(20)
    pid = server.pid
    assert pid
    wait_until(lambda: footprint(pid).processes == 1, 30)
    before = footprint(pid)
    repeat(int(os.environ.get("MANY_ACTIONS", "100")))
    wait_until(lambda: footprint(pid).processes == 1, 30)
    after = footprint(pid)
    assert server.pid == pid
    assert (after.files, after.connections, after.threads) == (before.files, before.connections, before.threads)
    assert after.resident < before.resident + 0.5


def test_a_killed_fork_server_is_replaced_at_any_time(runner: Runner, server: ForkServer, plugin: Path) -> None:
    """Killed again and again while actions start, it costs at most the actions that were being started."""
    ended = threading.Event()

    def kill() -> None:
        while not ended.wait(0.05):
            if pid := server.pid:
                os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        results = [run(runner, plugin, number=number) for number in range(30)]
    finally:
        ended.set()
        killer.join()
    for number, result in enumerate(results):
        assert result.reason == "crashed" or result.data["number"] == number
    assert run(runner, plugin).statuscode == 0
