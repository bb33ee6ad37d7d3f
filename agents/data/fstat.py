"""Return type, owner, times and digests of a file. Symbolic links are not followed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time

from collective.agent import Aborted, Reply, data

_BLOCK = 1 << 20  # bytes read between two checks of the deadline
_MARGIN = 0.5  # seconds reserved for the reply
_TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "chardev",
    stat.S_IFBLK: "blockdev",
    stat.S_IFIFO: "fifo",
}
_NUMBERS = ("size", "uid", "gid")
_TIMES = ("mtime", "ctime", "atime")
_NO_DIGESTS = {"md5": None, "sha256": None}
# The values of a file that does not exist are null, so that no comparison matches them.
_ABSENT = {
    **dict.fromkeys(("type", "mode", *_NUMBERS)),
    **{f"{name}{part}": None for name in _TIMES for part in ("", "_seconds", "_age")},
    **_NO_DIGESTS,
}


@data
def fstat(query: str, *, deadline: float) -> Reply:
    """Return the attributes of the file at a path.

    Times are strings in UTC, and Unix seconds in `…_seconds`; ages are in seconds. Digests are null for anything but
    regular files, and missing if the file cannot be read, or not within the deadline.
    """
    _check_spelling(query)
    try:
        found = os.lstat(query)
    except (FileNotFoundError, NotADirectoryError):
        return {"name": query, "output": "not present", "present": 0, **_ABSENT}
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
        **(_digests(query, deadline) if stat.S_ISREG(found.st_mode) else _NO_DIGESTS),
    }


def _check_spelling(path: str) -> None:
    """Refuse all spellings of a path but one: a policy that denies it must not be passed with another one."""
    steps = [step for step in path.split("/") if step not in ("", ".")]
    if ".." in steps:
        raise Aborted(f"{path}: use a path without '..'")
    if path != (plain := f"/{'/'.join(steps)}"):
        raise Aborted(f"{path}: use '{plain}'")


def _times(found: os.stat_result) -> Reply:
    now = int(time.time())
    times: Reply = {}
    for name in _TIMES:
        seconds = int(getattr(found, f"st_{name}"))
        times[name] = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
        times[f"{name}_seconds"] = seconds
        times[f"{name}_age"] = now - seconds
    return times


def _digests(path: str, deadline: float) -> Reply:
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    # Non-blocking and without following links, because the file may have been replaced since lstat.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(OSError), open(os.open(path, flags), "rb") as file:  # noqa: PTH123 - a descriptor
        while time.monotonic() < deadline - _MARGIN:
            block = file.read(_BLOCK)
            if not block:
                return {"md5": md5.hexdigest(), "sha256": sha256.hexdigest()}
            md5.update(block)
            sha256.update(block)
    return {}
