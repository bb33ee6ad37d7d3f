"""Limit what unfinished transfers take up in the staging folder, per caller and in all.

    <staging>/<caller>-<transfer>     <caller>: a digest of its name

A file that is larger than a limit of bytes, which `max_size` can allow, is accepted when it is the only one. When a
caller reaches a limit, its oldest transfers without a recent piece are removed; those of other callers never are.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from collective.errors import Failed

CALLER_MOST = 20  # unfinished transfers of one caller
CALLER_LARGEST = 512 * 1024 * 1024  # bytes of them
MOST = 100  # unfinished transfers of all callers
LARGEST = 2048 * 1024 * 1024  # bytes of them
MOST_IDLE = 300.0  # seconds without a piece after which a transfer of the same caller can be removed for a new one
_ABANDONED = 86400.0  # seconds
_NAME = re.compile(r"([0-9a-f]{32}-)?[0-9a-f]{32}")  # nothing else in the folder is touched


@dataclass(frozen=True)
class Unfinished:
    """The pieces of a transfer so far: `size` in bytes, `changed` in Unix seconds."""

    path: Path
    size: int
    changed: float


def staging_path(folder: Path, caller: str, transfer: str) -> Path:
    """Return the file for the pieces of a transfer; callers cannot reach each other's."""
    return folder / f"{hashlib.sha256(caller.encode()).hexdigest()[:32]}-{transfer}"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of the folder, so that pieces that arrive at the same time do not pass a limit together."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def make_room(path: Path, size: int) -> None:
    """Allow the file of a transfer to have `size` bytes: raise Failed (busy) if a limit would be exceeded.

    Abandoned transfers of all callers are removed first, and idle ones of the same caller if it reaches its limits.
    """
    now = time.time()
    others = [one for one in _unfinished(path.parent) if one.path != path and not _removed(one, now - _ABANDONED)]
    own = [one for one in others if one.path.name.partition("-")[0] == path.name.partition("-")[0]]
    for oldest in list(own):
        if _fits(own, size, CALLER_MOST, CALLER_LARGEST) or not _removed(oldest, now - MOST_IDLE):
            break
        own.remove(oldest)
        others.remove(oldest)
    _require(own, size, "this caller has", CALLER_MOST, CALLER_LARGEST)
    _require(others, size, "all callers together have", MOST, LARGEST)


def _unfinished(folder: Path) -> list[Unfinished]:
    """Return what is unfinished, the oldest first."""
    found = []
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # it has just been completed
            status = path.lstat()
            if _NAME.fullmatch(path.name) and stat.S_ISREG(status.st_mode):
                found.append(Unfinished(path, status.st_size, status.st_mtime))
    return sorted(found, key=lambda one: one.changed)


def _removed(one: Unfinished, before: float) -> bool:
    """Remove a transfer if its last piece is older than that; return whether it was."""
    if one.changed >= before:
        return False
    one.path.unlink(missing_ok=True)
    return True


def _fits(others: list[Unfinished], size: int, most: int, largest: int) -> bool:
    return not others or (len(others) < most and sum(one.size for one in others) + size <= largest)


def _require(others: list[Unfinished], size: int, whose: str, most: int, largest: int) -> None:
    if not _fits(others, size, most, largest):
        taken = sum(one.size for one in others)
        raise Failed(
            f"staging: {whose} {len(others)} other unfinished transfers of {taken} bytes, and this one needs {size} "
            f"bytes; limits: {most} transfers, {largest} bytes (try again in {MOST_IDLE:.0f} s)",
            reason="busy",
        )
