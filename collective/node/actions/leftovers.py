"""Find and kill what an action has started when its monitor cannot, because it was killed itself.

The environment of an action's processes names its request, and their session is that of their monitor, unless they
have made another one. A process that has replaced its environment and its session as well is not found: only a control
group (cgroup.py) holds those too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from collective.processes import MARK

_ENDING = 5.0  # seconds that killed processes may take to disappear


def end_leftovers(token: str, session: int | None = None) -> int:
    """Kill all processes marked with `token` or in `session`, and their descendants; return how many were killed.

    They may fork meanwhile, so they are looked for until none is left.
    """
    until = time.monotonic() + _ENDING
    killed: set[int] = set()
    while (found := set(_leftovers(token, session))) and time.monotonic() < until:
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed |= found
        time.sleep(0.005)
    return len(killed)


def _leftovers(token: str, session: int | None) -> Iterator[int]:
    mark = f"{MARK}={token}\0".encode()
    processes = dict(_processes())
    wanted = {pid for pid, (_, in_session) in processes.items() if in_session == session or _is_marked(pid, mark)}
    wanted -= {os.getpid()}
    for pid in processes:
        ancestor = pid
        while ancestor in processes and ancestor not in wanted:
            ancestor = processes[ancestor][0]
        if ancestor in wanted:
            yield pid


def _is_marked(pid: int, mark: bytes) -> bool:
    with contextlib.suppress(OSError):  # it has ended, or belongs to another user
        return mark in Path(f"/proc/{pid}/environ").read_bytes()
    return False


def _processes() -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield each living process with its parent and its session (proc(5): /proc/PID/stat)."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
                if fields[0] not in "ZX":  # zombie, dead
                    yield int(folder.name), (int(fields[1]), int(fields[3]))
