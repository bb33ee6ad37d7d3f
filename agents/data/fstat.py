"""Answer with what a file is: its kind, owner, times and digests. Links are not followed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time

from collective.agent import Aborted, Reply, data

_BLOCK = 1 << 20  # bytes that are digested between two looks at the clock
_MARGIN = 0.5  # seconds kept for the answer
_TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "chardev",
    stat.S_IFBLK: "blockdev",
    stat.S_IFIFO: "fifo",
}
_ABSENT = {"output": "not present", "present": 0, "type": "unknown", "mode": "0000", "md5": 0, "sha256": 0}
_NUMBERS = ("size", "uid", "gid")
_TIMES = ("mtime", "ctime", "atime")


@data
def fstat(query: str, *, deadline: float) -> Reply:
    """Tell about the file at a path.

    Times are text in UTC, and Unix seconds in `…_seconds`; ages are seconds. Only files have digests: 0 stands for
    those of all else, and what cannot be read, or not within the time, has no such fields.
    """
    try:
        found = os.lstat(query)
    except (FileNotFoundError, NotADirectoryError):
        times = {f"{name}{part}": 0 for name in _TIMES for part in ("", "_seconds", "_age")}
        return {"name": query, **_ABSENT, **dict.fromkeys(_NUMBERS, 0), **times}
    except OSError as error:
        raise Aborted(f"{query}: {error.strerror}") from None
    return {
        "name": query,
        "output": "present",
        "present": 1,
        "type": _TYPES.get(stat.S_IFMT(found.st_mode), "unknown"),
        "mode": f"{found.st_mode:o}",
        **{name: getattr(found, f"st_{name}") for name in _NUMBERS},
        **_times(found),
        **(_digests(query, deadline) if stat.S_ISREG(found.st_mode) else {"md5": 0, "sha256": 0}),
    }


def _times(found: os.stat_result) -> Reply:
    now = int(time.time())
    told: Reply = {}
    for name in _TIMES:
        seconds = int(getattr(found, f"st_{name}"))
        told[name] = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
        told[f"{name}_seconds"] = seconds
        told[f"{name}_age"] = now - seconds
    return told


def _digests(path: str, deadline: float) -> Reply:
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    # Not blocking, not following: it may be something else than a file by now.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(OSError), open(os.open(path, flags), "rb") as file:  # noqa: PTH123 - a descriptor
        while time.monotonic() < deadline - _MARGIN:
            block = file.read(_BLOCK)
            if not block:
                return {"md5": md5.hexdigest(), "sha256": sha256.hexdigest()}
            md5.update(block)
            sha256.update(block)
    return {}
