"""List the processes of a node, and send signals to them.

Processes are selected by a regular expression for the command line and by their user. The action's own processes and
those above it, up to the daemon, are never among them, and neither are process 1 and kernel threads. The daemon's other
processes, such as those of other actions, are listed as `protected`, and get no signal: `crpc cancel` ends an action.

Processes that have ended, but whose parents have not noticed it (zombies), are listed, and get no signal either.

A dry run of `signal` lists the processes that would get the signal.
"""

from __future__ import annotations

import errno
import os
import re
import signal as signals
import time
from collections.abc import Callable, Sequence

from collective.agent import Aborted, InvalidInput, Reply, action
from collective.agents import _processes
from collective.agents._processes import RunningProcess

_MOST = 1000  # processes in one reply
_MEASURED = 0.5  # seconds in which `top` measures processor time


@action
def list(pattern: str | None = None, user: str | None = None) -> Reply:
    """List processes by command line and user."""
    found = _selected(pattern, user)
    return {"count": len(found), "processes": _data(found), "truncated": len(found) > _MOST}


@action
def top(count: int = 10, by: str = "cpu", user: str | None = None) -> Reply:
    """List the processes that use most processor time or memory."""
    found = _selected(None, user)
    used = _measured(found) if by == "cpu" else {one.pid: float(one.rss) for one in found}
    largest = sorted(found, key=lambda one: used.get(one.pid, 0.0), reverse=True)[:count]
    load = os.getloadavg()
    processes = [
        {**data, "cpu_percent": round(100 * used.get(one.pid, 0.0) / _MEASURED, 1)} if by == "cpu" else data
        for one, data in zip(largest, _data(largest), strict=True)
    ]
    return {"processes": processes, "load1": load[0], "load5": load[1], "load15": load[2]}


@action
def signal(
    pattern: str | None = None,
    user: str | None = None,
    pid: int | None = None,
    signal: str = "TERM",
    expect: int | None = None,
    *,
    dry_run: bool = False,
) -> Reply:
    """Send a signal to processes."""
    if pattern is None and pid is None:
        raise InvalidInput("signal: give the process as pattern=… or pid=… (a user alone is not enough)")
    selected = [one for one in _selected(pattern, user) if pid in (None, one.pid)]
    found = [one for one in selected if not one.protected and not one.ended]
    if expect is not None and len(found) != expect:
        raise Aborted(
            f"{len(found)} processes found, {expect} expected: no signal sent",
            data={"count": len(found), "processes": _data(found), "changed": False},
        )
    sent = found if dry_run else _sent(found, getattr(signals, f"SIG{signal}"))
    return {"count": len(sent), "processes": _data(sent), "changed": bool(sent)}


def _selected(pattern: str | None, user: str | None) -> Sequence[RunningProcess]:
    try:
        return _processes.selected(pattern, user)
    except re.error as error:
        raise InvalidInput(f"pattern: not a regular expression: {error}") from None


def _data(processes: Sequence[RunningProcess]) -> Sequence[dict[str, object]]:
    return [one.to_data() for one in processes[:_MOST]]


def _sent(processes: Sequence[RunningProcess], number: int) -> Sequence[RunningProcess]:
    """Send a signal to processes; return those that still ran. Raises Aborted if one may not be signalled."""
    sent, refused = [], []
    for one in processes:
        try:
            _send(one, number)
            sent.append(one)
        except ProcessLookupError:
            continue  # it has just ended
        except PermissionError:
            refused.append(one)
    if refused:
        pids = ", ".join(str(one.pid) for one in refused)
        raise Aborted(
            f"not allowed to send signals to {pids} (the node runs as another user)",
            data={"count": len(sent), "processes": _data(sent), "changed": bool(sent)},
        )
    return sent


def _send(process: RunningProcess, number: int) -> None:
    """Send a signal through a descriptor of the process, so that no later process of the same number gets it."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except (AttributeError, OSError) as error:
        if getattr(error, "errno", errno.ENOSYS) != errno.ENOSYS:
            raise
        _require_same(process)
        os.kill(process.pid, number)  # Linux before 5.3
        return
    try:
        _require_same(process)
        signals.pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)


def _require_same(process: RunningProcess) -> None:
    """Raise ProcessLookupError if the process has ended, even if another one has its number now."""
    current = _processes.read(process.pid)
    if current is None or current.born != process.born:
        raise ProcessLookupError


def _measured(processes: Sequence[RunningProcess], wait: Callable[[float], None] = time.sleep) -> dict[int, float]:
    """Return the seconds of processor time that each process uses within _MEASURED seconds."""
    wait(_MEASURED)
    later = {one.pid: one for one in _processes.running()}
    return {
        one.pid: later[one.pid].cpu - one.cpu
        for one in processes
        if one.pid in later and later[one.pid].born == one.born
    }
