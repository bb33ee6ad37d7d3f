"""Start, stop and look at labs; what `crpc lab` does."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from collective.errors import ConfigError, Unreachable, UsageError
from collective.lab.layout import COLLECTIVE, Layout
from collective.processes import runs

_STARTING = 60.0  # seconds that a lab has to come up
_STOPPING = 20.0  # seconds that it has to go away
_LOOK = 0.05  # seconds between looks


def start(layout: Layout, nodes: int, *, lifeline: int | None = None) -> subprocess.Popen[bytes]:
    """Start a lab and wait until every node has joined; whatever goes wrong, nothing of it is left.

    Returns the process that the lab hangs on. `lifeline` is the reading end of a pipe: the lab ends when the other
    end closes.
    """
    if importlib.util.find_spec("moto") is None:
        raise ConfigError("lab: moto is not installed: pip install 'collective-rpc[lab]'")
    if layout.pid(layout.supervisor_pid):
        raise UsageError(f"a lab runs in {layout.folder} already: '{command(layout, 'stop')}' ends it")
    try:
        _make_folder(layout, nodes)
    except OSError as error:
        raise UsageError(f"{layout.folder}: no lab can be made there: {error.strerror}: name another folder") from None
    supervisor = _spawn(layout, lifeline)
    try:
        _wait_for(layout, supervisor, layout.nodes())
    except BaseException:
        supervisor.terminate()
        supervisor.wait()
        shutil.rmtree(layout.folder, ignore_errors=True)
        raise
    return supervisor


def _make_folder(layout: Layout, nodes: int) -> None:
    """Write a lab's files, in place of those of an earlier one."""
    if layout.folder.exists() and any(layout.folder.iterdir()) and not layout.control.is_fifo():
        raise UsageError(f"{layout.folder} is no lab's folder, and not empty: name another one")
    shutil.rmtree(layout.folder, ignore_errors=True)
    layout.create(nodes)


@contextlib.contextmanager
def running(layout: Layout, nodes: int) -> Iterator[dict[str, str]]:
    """Run a lab for as long as the block takes, or this process lives; yields the environment that points to it."""
    reading, writing = os.pipe()
    try:
        supervisor = start(layout, nodes, lifeline=reading)
    except BaseException:
        os.close(writing)
        raise
    finally:
        os.close(reading)
    try:
        yield layout.environment()
    finally:
        os.close(writing)
        try:
            supervisor.wait(_STOPPING)
        except subprocess.TimeoutExpired:
            supervisor.kill()  # the kernel kills its nodes with it
            supervisor.wait()
        shutil.rmtree(layout.folder, ignore_errors=True)


def stop(layout: Layout) -> None:
    """End a lab and wait until nothing of it is left."""
    supervisor = _running_supervisor(layout)
    os.kill(supervisor, signal.SIGTERM)
    if not _until(lambda: not layout.folder.exists() and not runs(supervisor), _STOPPING):
        raise Unreachable(f"the lab in {layout.folder} does not end: its process is {supervisor}")


def status(layout: Layout) -> dict[str, int | None]:
    """Return the process of each node; None for one that does not run."""
    _running_supervisor(layout)
    return {name: layout.pid(layout.node(name) / "pid") for name in layout.nodes()}


def kill_node(layout: Layout, identity: str) -> None:
    """Do to a node what a power cut does."""
    _end_node(layout, identity, signal.SIGKILL)


def stop_node(layout: Layout, identity: str) -> None:
    """Have a node stop cleanly: it says farewell."""
    _end_node(layout, identity, signal.SIGTERM)


def start_node(layout: Layout, identity: str) -> None:
    """Start a node again, and wait until it has joined."""
    _running_supervisor(layout)
    if layout.pid(layout.node(identity) / "pid"):
        raise UsageError(f"{identity} runs already")
    since = time.time()
    with layout.control.open("w", encoding="ascii") as control:
        control.write(f"start {identity}\n")
    _wait_for(layout, None, [identity], since)


def _end_node(layout: Layout, identity: str, number: signal.Signals) -> None:
    _running_supervisor(layout)
    pid_file = layout.node(identity) / "pid"
    pid = layout.pid(pid_file)
    if pid is None:
        raise UsageError(f"{identity} does not run")
    os.kill(pid, number)
    if not _until(lambda: not pid_file.exists(), _STOPPING):
        raise Unreachable(f"{identity} does not end: its process is {pid}")


def _running_supervisor(layout: Layout) -> int:
    pid = layout.pid(layout.supervisor_pid)
    if pid is None:
        raise UsageError(f"no lab runs in {layout.folder}: '{command(layout, 'start')}' starts one")
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
            cwd="/",  # `-m` looks there first: what lies where the user stands must not be imported
            pass_fds=kept,
            start_new_session=True,
        )


def _wait_for(layout: Layout, supervisor: subprocess.Popen[bytes] | None, nodes: list[str], since: float = 0.0) -> None:
    """Wait until every one of `nodes` has registered itself after `since` (Unix seconds)."""

    def failed() -> bool:
        return supervisor is not None and supervisor.poll() is not None

    def said() -> str:
        return layout.log.read_text(encoding="utf-8", errors="replace").strip() if layout.log.exists() else ""

    if not _until(lambda: failed() or _has_endpoint(layout), _STARTING) or failed():
        raise Unreachable(f"the lab did not start: {(said().splitlines() or ['it said nothing'])[-1]}")
    missing = set(nodes)

    def all_there() -> bool:
        missing.difference_update(_registered(layout, since))
        return failed() or not missing

    if not _until(all_there, _STARTING) or failed():
        first = min(missing)
        log = layout.folder / "nodes" / first / "log"
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
        raise Unreachable(f"{len(missing)} nodes did not join, {first} says: {(lines or ['nothing'])[-1]}")


def _has_endpoint(layout: Layout) -> bool:
    return layout.endpoint.exists() and layout.endpoint.read_text(encoding="ascii").startswith("http")


def _registered(layout: Layout, since: float) -> list[str]:
    os.environ.update(layout.environment())
    from collective import names
    from collective.aws import AWS
    from collective.errors import NotFound
    from collective.registry.dynamodb import DynamoDBRegistry

    try:
        records = DynamoDBRegistry(AWS(), names.table(COLLECTIVE)).nodes()
    except NotFound:
        return []
    return [record.identity for record in records if record.left is None and record.last_seen >= since]


def _until(holds: Callable[[], bool], seconds: float) -> bool:
    """Wait until something holds; return whether it did in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK)
    return True


def command(layout: Layout, verb: str) -> str:
    """Return what to type for this lab: the folder is named where it is not the one that is meant anyway."""
    elsewhere = layout.folder != default_folder().absolute()
    return f"crpc lab {verb}" + (f" --folder {shlex.quote(str(layout.folder))}" if elsewhere else "")


def default_folder() -> Path:
    """Return the folder of the lab that is meant when none is named: the environment's, or else the user's."""
    from collective.config import user_folder

    named = os.environ.get("COLLECTIVE_LAB")
    return Path(named) if named else user_folder("STATE") / "lab"
