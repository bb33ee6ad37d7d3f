"""Find files that others may change under a daemon which believes and runs them, and what it cannot write itself.

Only looks: what is not there is asked of the nearest folder above it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path


def faults(read: Iterable[Path], written: Mapping[str, Path], user: int) -> Iterator[str]:
    """Yield what is wrong with files that are read, and that are written (by configuration key); `user` is our id."""
    for part in dict.fromkeys(part for path in read for part in _way_to(path)):
        if fault := _opened_by_others(part, user):
            yield fault
    for key, path in written.items():
        if fault := _closed_to_us(path):
            yield f"{key}: {fault}"


def _way_to(path: Path) -> Iterator[Path]:
    """Yield a path and all folders above it, and the same of what it leads to when it is a link."""
    for end in (path.absolute(), path.resolve()):
        yield end
        yield from end.parents


def _opened_by_others(path: Path, user: int) -> str | None:
    """Return who else than root and `user` may write `path`; None when nobody may, or it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None  # what cannot be read is told where it is read
    if stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX:
        return None  # as /tmp: others may add to it, and change nothing of ours
    if found.st_uid not in (0, user):
        return f"{path}: user {found.st_uid} may change it, and what this node does with it: chown {user} {path}"
    if found.st_mode & stat.S_IWOTH:
        return f"{path}: everybody may change it, and what this node does with it: chmod o-w {path}"
    if found.st_mode & stat.S_IWGRP and found.st_gid not in (0, os.getegid()):
        return f"{path}: group {found.st_gid} may change it, and what this node does with it: chmod g-w {path}"
    return None


def _closed_to_us(path: Path) -> str | None:
    """Return why `path` cannot be written, or made where it is not there."""
    for part in (path, *path.parents):
        if part.exists():
            needed = os.W_OK | os.X_OK if part.is_dir() else os.W_OK
            if part is not path and not part.is_dir():
                return f"{part}: is no folder: take it away, or name another"
            return None if os.access(part, needed) else f"{part}: cannot be written: chown it, or name another"
    return None
