"""Functions for processes: parent death signal, subreaper, liveness, ends, memory release, no core files."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess

MARK = "COLLECTIVE_REQUEST"  # the variable in the environment of an action's processes, with the token of its job

# <linux/prctl.h>
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
# <malloc.h>: M_MMAP_THRESHOLD and M_ARENA_MAX
_M_MMAP_THRESHOLD = -3
_M_ARENAS = -8
_LARGE = 1024 * 1024  # bytes
_ARENAS = 2
_NO_CORE = 1  # byte


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent` dies; exit now when it has died already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of every descendant process whose parent dies (PR_SET_CHILD_SUBREAPER)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def give_back_memory() -> None:
    """Return large memory blocks to the system as soon as they are freed (mallopt(3)), and share the small ones.

    By default glibc raises the size limit for that each time a large block is freed: a daemon that has sent a few
    large replies would keep three times its memory permanently. It also gives each thread its own free blocks, which
    no other thread uses. Other C libraries do not have these settings.
    """
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)
        ctypes.CDLL(None).mallopt(_M_ARENAS, _ARENAS)


def give_back_freed() -> None:
    """Return what has been freed to the system now (malloc_trim(3), in glibc only)."""
    gc.collect()
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def forbid_core_files() -> None:
    """Let a crash of this process, and of those that it starts, leave no core file: its memory has secrets.

    A limit of 1 also stops a program that the kernel would pipe the core to, which a limit of 0 does not
    (Linux, fs/coredump.c). The hard limit stays, so a command that needs core files can raise its own.
    """
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (_NO_CORE if hard else 0, hard))


def runs(pid: int) -> bool:
    """Return whether a process is running. A zombie, which has exited but was not waited for, is not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"  # proc(5): zombie, dead


def kill_group(process: subprocess.Popen[Any]) -> None:
    """Kill a command, which leads a process group, and what it has started, unless that left the group.

    What runs as another user, such as a command of sudo, may be out of reach.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def end_command(process: subprocess.Popen[Any]) -> None:
    """Kill a command and its process group if it still runs, and close its pipes.

    `subprocess.run` would wait for whatever holds the pipes, also after its timeout.
    """
    if process.poll() is None:
        kill_group(process)
        process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            with contextlib.suppress(OSError):  # the command did not read its input
                stream.close()


def signal_name(number: int) -> str:
    """Return the name of a signal as kill(1) prints it: `SIGTERM`, `SIGRTMIN+1`."""
    if signal.SIGRTMIN <= number <= signal.SIGRTMAX:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"
    known = {one.value: one.name for one in signal.Signals}
    return known.get(number, f"signal {number}")


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
