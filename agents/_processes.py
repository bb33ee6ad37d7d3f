"""Read the processes of this machine from /proc (proc(5)).

A process is identified by its number and its start time, because numbers are reused.
"""

from __future__ import annotations

import os
import pwd
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PROC = Path("/proc")
_LONGEST = 500  # characters of a command line in a reply
# In its command line, and in those of its children.
_FORK_SERVER = "from collective.node.actions.fork_server_main import main"
_KERNEL_THREAD = 0x00200000  # PF_KTHREAD in the flags of a process, include/linux/sched.h
_STAT_FIELDS = 22  # after the name, up to the resident memory


@dataclass(frozen=True)
class RunningProcess:
    """One process. `cpu` is the seconds of processor time, `started` Unix seconds, `born` ticks since boot."""

    pid: int
    ppid: int
    name: str
    command: str
    state: str
    user: str
    cpu: float
    rss: int
    threads: int
    started: float
    born: int
    protected: bool = False  # one of the daemon's processes, which gets no signal

    @property
    def ended(self) -> bool:
        """Whether it is a zombie: it has ended, and only its parent can remove it."""
        return self.state == "Z"

    def to_data(self) -> dict[str, object]:
        """Return the process as a reply has it."""
        return {
            "pid": self.pid,
            "ppid": self.ppid,
            "user": self.user,
            "state": self.state,
            "cpu_seconds": round(self.cpu, 2),
            "rss_bytes": self.rss,
            "threads": self.threads,
            "started": round(self.started, 2),
            "protected": self.protected,
            "command": self.command if len(self.command) <= _LONGEST else f"{self.command[:_LONGEST]}…",
        }


def running() -> list[RunningProcess]:
    """Return all processes, sorted by number, without kernel threads, process 1 and this action's own processes.

    The daemon's other processes are `protected`.
    """
    own = _own()
    found = {process.pid: process for process in map(read, _pids()) if process is not None}
    guarded = _of_daemon(found)
    return [replace(one, protected=one.pid in guarded) for one in found.values() if one.command and one.pid not in own]


def read(pid: int) -> RunningProcess | None:
    """Return a process; None if it has ended."""
    folder = _PROC / str(pid)
    try:
        head, _, rest = (folder / "stat").read_bytes().decode(errors="replace").rpartition(")")
        arguments = (folder / "cmdline").read_bytes()
        owner = folder.stat().st_uid
    except OSError:
        return None
    fields = rest.split()
    if len(fields) < _STAT_FIELDS:
        return None
    born, name = int(fields[19]), head.partition("(")[2]
    command = " ".join(arguments.decode(errors="replace").rstrip("\0").split("\0"))
    if not command and not int(fields[6]) & _KERNEL_THREAD:
        command = f"[{name}]"  # as ps(1) shows it: it has ended, or has overwritten its arguments
    return RunningProcess(
        pid=pid,
        ppid=int(fields[1]),
        name=name,
        command=command,
        state=fields[0],
        user=_user(owner),
        cpu=(int(fields[11]) + int(fields[12])) / _TICKS,
        rss=int(fields[21]) * _PAGE,
        threads=int(fields[17]),
        started=_boot_time() + born / _TICKS,
        born=born,
    )


def selected(pattern: str | None, user: str | None) -> list[RunningProcess]:
    """Return the processes whose command line matches a regular expression, and that belong to a user."""
    expression = re.compile(pattern or "")
    return [one for one in running() if expression.search(one.command) and user in (None, one.user)]


def _pids() -> Iterator[int]:
    yield from sorted(int(path.name) for path in _PROC.iterdir() if path.name.isdigit())


def _own() -> set[int]:
    """Return this process, its parents up to the daemon, and process 1, which is the machine's or the container's."""
    found, pid = {1}, os.getpid()
    while pid > 1 and pid not in found:
        found.add(pid)
        process = read(pid)
        pid = process.ppid if process else 0
    return found


def _of_daemon(processes: dict[int, RunningProcess]) -> set[int]:
    """Return the daemon's processes: its fork server, the monitors and workers of actions, and what those started.

    This action's worker and monitor have the command line of the fork server, which is a child of the daemon. A parent
    that is process 1 is the daemon in a container, or has adopted a monitor whose fork server has ended: then other
    processes below it are not the daemon's.
    """
    top, parent = 0, os.getpid()
    while parent in processes and _FORK_SERVER in processes[parent].command:
        top, parent = parent, processes[parent].ppid
    if not top:
        return set()  # this code does not run below a daemon
    helpers = {one.pid for one in processes.values() if _helps(one, processes[top].user)}
    return _below(processes, {parent} if parent > 1 else {top, *helpers})


def _helps(process: RunningProcess, user: str) -> bool:
    return process.user == user and _FORK_SERVER in process.command


def _below(processes: dict[int, RunningProcess], roots: set[int]) -> set[int]:
    """Return `roots` and all their descendants."""
    children: dict[int, list[int]] = {}
    for one in processes.values():
        current = one if one.ppid in processes else read(one.pid) or one  # its parent has just ended
        children.setdefault(current.ppid, []).append(one.pid)
    found, waiting = set(roots), list(roots)
    while waiting:
        new = [pid for pid in children.get(waiting.pop(), ()) if pid not in found]
        found.update(new)
        waiting += new
    return found


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _boot_time() -> float:
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
