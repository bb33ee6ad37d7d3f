"""Start, stop and query labs; used by `crpc lab` and by tests."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from collective.errors import ConfigError, NotFound, Unreachable, UsageError
from collective.lab import servers
from collective.lab.layout import COLLECTIVE, Layout
from collective.lab.waiting import until
from collective.processes import runs
from collective.text import plural

_START_TIMEOUT = 60.0  # seconds, and as much again for each 100 nodes
_STOP_TIMEOUT = 20.0  # seconds
_RELOADED = re.compile(rb"daemon\.reloaded\b.*?\bproblems=([0-9]+)")


def start(
    layout: Layout, nodes: int, server: str = servers.MOTO, *, lifeline: int | None = None
) -> subprocess.Popen[bytes]:
    """Start a lab, wait until every node has joined, and return its supervisor; an error leaves nothing behind.

    `server` is a name or a URL of `servers.py`. `lifeline` is the read end of a pipe: the lab ends when the other end
    is closed. Raises ConfigError when the server is not installed,
    UsageError when the folder cannot be used, and Unreachable when the lab does not start.
    """
    servers.check(server)
    if server in (servers.MOTO, servers.FAUXQS) and importlib.util.find_spec("moto") is None:
        raise ConfigError("lab: moto is not installed (pip install 'moto[dynamodb,sns,sqs]' flask flask-cors)")
    if layout.pid(layout.supervisor_pid):
        raise UsageError(f"a lab is already running in {layout.folder} (stop it with '{command(layout, 'stop')}')")
    try:
        _create_folder(layout, nodes, server)
    except OSError as error:
        raise UsageError(f"{layout.folder}: cannot create a lab: {error.strerror} (use another folder)") from None
    supervisor = _spawn(layout, lifeline)
    try:
        _wait_for(layout, supervisor, layout.nodes())
    except BaseException:
        supervisor.terminate()
        supervisor.wait()
        shutil.rmtree(layout.folder, ignore_errors=True)
        raise
    return supervisor


def _create_folder(layout: Layout, nodes: int, server: str) -> None:
    """Write the files of a lab, replacing those of an earlier lab."""
    if layout.folder.exists() and any(layout.folder.iterdir()) and not layout.control.is_fifo():
        raise UsageError(f"{layout.folder}: folder is not empty and not that of a lab (use another folder)")
    shutil.rmtree(layout.folder, ignore_errors=True)
    layout.create(nodes, server)


@contextlib.contextmanager
def running(layout: Layout, nodes: int, server: str = servers.MOTO) -> Iterator[dict[str, str]]:
    """Run a lab until the block or this process ends; yield the environment variables that select it."""
    read_end, write_end = os.pipe()
    try:
        supervisor = start(layout, nodes, server, lifeline=read_end)
    except BaseException:
        os.close(write_end)
        raise
    finally:
        os.close(read_end)
    try:
        yield layout.environment()
    finally:
        os.close(write_end)
        try:
            supervisor.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            supervisor.kill()  # the kernel then kills its nodes
            supervisor.wait()
        shutil.rmtree(layout.folder, ignore_errors=True)


def stop(layout: Layout) -> None:
    """Stop a lab and wait until its processes and files are gone."""
    supervisor = _running_supervisor(layout)
    os.kill(supervisor, signal.SIGTERM)
    if not until(lambda: not layout.folder.exists() and not runs(supervisor), _STOP_TIMEOUT):
        raise Unreachable(f"lab in {layout.folder} did not stop within {_STOP_TIMEOUT:.0f} s (process {supervisor})")


def status(layout: Layout) -> dict[str, int | None]:
    """Return the process ID of each node; None for a node that is not running."""
    _running_supervisor(layout)
    return {name: layout.pid(layout.node(name) / "pid") for name in layout.nodes()}


def kill_node(layout: Layout, identity: str) -> None:
    """Kill a node (SIGKILL), as a power cut would."""
    _end_node(layout, identity, signal.SIGKILL)


def stop_node(layout: Layout, identity: str) -> None:
    """Stop a node cleanly (SIGTERM)."""
    _end_node(layout, identity, signal.SIGTERM)


def reload_node(layout: Layout, identity: str) -> int:
    """Make a node reload agents, policy and facts (SIGHUP), wait until it has, and return the number of problems."""
    pid = _running_node(layout, identity)
    log = layout.node(identity) / "log"
    begin = log.stat().st_size
    os.kill(pid, signal.SIGHUP)
    if not until(lambda: _reloaded(log, begin) is not None, _STOP_TIMEOUT):
        raise Unreachable(f"{identity}: did not reload within {_STOP_TIMEOUT:.0f} s (process {pid})")
    return _reloaded(log, begin) or 0


def read_log(layout: Layout, identity: str) -> str:
    """Return the log of a node, whether or not it is running."""
    log = layout.node(identity) / "log"
    return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""


def start_node(layout: Layout, identity: str) -> None:
    """Start a node again, and wait until it has joined."""
    _running_supervisor(layout)
    if layout.pid(layout.node(identity) / "pid"):
        raise UsageError(f"{identity}: already running")
    since = time.time()
    with layout.control.open("w", encoding="ascii") as control:
        control.write(f"start {identity}\n")
    _wait_for(layout, None, [identity], since)


def _end_node(layout: Layout, identity: str, number: signal.Signals) -> None:
    pid = _running_node(layout, identity)
    pid_file = layout.node(identity) / "pid"
    os.kill(pid, number)
    if not until(lambda: not pid_file.exists(), _STOP_TIMEOUT):
        raise Unreachable(f"{identity}: did not stop within {_STOP_TIMEOUT:.0f} s (process {pid})")


def _running_node(layout: Layout, identity: str) -> int:
    """Return the process ID of a node; raise UsageError if it is not running."""
    _running_supervisor(layout)
    pid = layout.pid(layout.node(identity) / "pid")
    if pid is None:
        raise UsageError(f"{identity}: not running")
    return pid


def _reloaded(log: Path, begin: int) -> int | None:
    """Return the number of problems of the first reload that a log reports after the byte `begin`; None without one."""
    with log.open("rb") as file:
        file.seek(begin)
        found = _RELOADED.search(file.read())
    return int(found[1]) if found else None


def _running_supervisor(layout: Layout) -> int:
    pid = layout.pid(layout.supervisor_pid)
    if pid is None:
        raise UsageError(f"no lab is running in {layout.folder} (start one with '{command(layout, 'start')}')")
    return pid


def _spawn(layout: Layout, lifeline: int | None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "collective.lab.supervisor", str(layout.folder)]
    kept = () if lifeline is None else (lifeline,)
    with layout.log.open("wb") as log:
        return subprocess.Popen(
            [*command, *map(str, kept)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",  # with `-m`, Python would import modules from the current folder
            pass_fds=kept,
            start_new_session=True,
        )


def _wait_for(layout: Layout, supervisor: subprocess.Popen[bytes] | None, nodes: list[str], since: float = 0.0) -> None:
    """Wait until all `nodes` have registered after `since` (Unix seconds)."""

    def failed() -> bool:
        return supervisor is not None and supervisor.poll() is not None

    if not until(lambda: failed() or _has_endpoint(layout), _START_TIMEOUT) or failed():
        raise Unreachable(f"lab did not start: {_last_line(layout.log)}")
    missing = set(nodes)

    def all_registered() -> bool:
        missing.difference_update(_registered(layout, since))
        return failed() or not missing

    if not until(all_registered, _START_TIMEOUT * (1 + len(nodes) // 100)) or failed():
        first = min(missing)
        last = _last_line(layout.folder / "nodes" / first / "log")
        raise Unreachable(f"{plural(len(missing), 'node')} did not join, last log line of {first}: {last}")


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else "(no log)"


def _has_endpoint(layout: Layout) -> bool:
    return layout.endpoint.exists() and layout.endpoint.read_text(encoding="ascii").startswith("http")


def _registered(layout: Layout, since: float) -> list[str]:
    os.environ.update(layout.environment())
    from collective import names
    from collective.aws.session import AWS
    from collective.registry.dynamodb import DynamoDBRegistry

    try:
        records = DynamoDBRegistry(AWS(), names.table(COLLECTIVE)).nodes()
    except NotFound:
        return []
    return [record.identity for record in records if record.left is None and record.last_seen >= since]


def command(layout: Layout, verb: str) -> str:
    """Return the `crpc lab` command for this lab, with its folder unless that is the default."""
    elsewhere = layout.folder != default_folder().absolute()
    return f"crpc lab {verb}" + (f" --folder {shlex.quote(str(layout.folder))}" if elsewhere else "")


def default_folder() -> Path:
    """Return the default folder of a lab: COLLECTIVE_LAB, or else in the user's state folder."""
    from collective.user_folders import user_folder

    named = os.environ.get("COLLECTIVE_LAB")
    return Path(named) if named else user_folder("STATE") / "lab"
