"""Find files that others may change under a daemon which believes and runs them, and what it cannot write itself.

Only looks: what is not there is asked of the nearest folder above it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path


def problems(read: Iterable[Path], written: Mapping[str, Path], user: int) -> Iterator[str]:
    """Yield what is wrong with files that are read, and that are written (by configuration key); `user` is our id."""
    ends = dict.fromkeys(end for path in read for end in _ends(path))
    sticky = _ways_to(ends) - set(map(_nearest, ends))
    for part in dict.fromkeys(part for end in ends for part in (end, *end.parents)):
        if error := _opened_by_others(part, user, may_be_sticky=part in sticky):
            yield error
    for key, path in written.items():
        if error := _closed_to_us(path):
            yield f"{key}: {error}"


def may_be_there(path: Path) -> bool:
    """Tell whether reading a path is worth a try: below a folder that is closed to us, reading says so."""
    try:
        return path.exists()
    except OSError:
        return True


def below(folder: Path) -> Iterator[Path]:
    """Yield all that is in a folder, at any depth, and in folders that links there lead to: each folder once."""
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        true_place = os.path.realpath(place)
        if true_place in seen:
            folders.clear()
            continue
        seen.add(true_place)
        folders.sort()
        yield from (Path(place, name) for name in sorted([*folders, *files]))


def _ends(path: Path) -> Iterator[Path]:
    """Yield a path, and what it leads to when it is a link."""
    yield path.absolute()
    yield Path(os.path.realpath(path))  # Path.resolve() raises for links in a circle


def _ways_to(ends: Iterable[Path]) -> set[Path]:
    return {folder for end in ends for folder in end.parents}


def _nearest(path: Path) -> Path:
    """Return what is there of a path: where it is not, whoever may add to this folder may make it."""
    return next(part for part in (path, *path.parents) if os.path.exists(part))  # noqa: PTH110 - Path's may raise


def _opened_by_others(path: Path, user: int, *, may_be_sticky: bool) -> str | None:
    """Return who else than root and `user` may write `path`; None when nobody may, or it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None  # what cannot be read is told where it is read
    if found.st_uid not in (0, user):
        return f"{path}: user {found.st_uid} may change it, and what this node does with it: chown {user} {path}"
    if may_be_sticky and stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX:
        return None  # as /tmp, above what is there: others may add to it, and change nothing of ours
    if found.st_mode & stat.S_IWOTH:
        return f"{path}: everybody may change it, and what this node does with it: chmod o-w {path}"
    if found.st_mode & stat.S_IWGRP and found.st_gid not in (0, os.getegid()):
        return f"{path}: group {found.st_gid} may change it, and what this node does with it: chmod g-w {path}"
    return None


def _closed_to_us(path: Path) -> str | None:
    """Return why `path` cannot be written, or made where it is not there, or below a folder that is closed to us."""
    part = _nearest(path)
    if part != path and not part.is_dir():
        return f"{part}: is no folder: take it away, or name another"
    needed = os.W_OK | os.X_OK if part.is_dir() else os.W_OK
    return None if os.access(part, needed) else f"{part}: cannot be written: chown it, or name another"
