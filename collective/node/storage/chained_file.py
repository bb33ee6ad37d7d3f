"""Append linked lines to a file that may fill its disk, be moved away by a rotation, or end in half a line."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collective.audit import chain

log = logging.getLogger(__name__)

_QUOTED = 4096  # bytes of a torn line that are kept


class ChainedFile:
    """A file of JSON lines, each with the hash of the one before; any number of threads may append.

    The chain goes on over restarts, and from a file that was moved away into the one that takes its place.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._lock = threading.Lock()
        self._lost = 0
        self._torn: str | None = None
        self.head: str | None = None

    def append(self, entry: Mapping[str, Any], now: float, *, durable: bool = False) -> None:
        """Write one line; raise OSError, and leave the file as it was, when that cannot be done.

        `durable`: it is on the disk, not only with the system, when this returns. `now` is Unix seconds, for the line
        that tells of lines which could not be written before this one.
        """
        with self._lock:
            try:
                file = self._opened()
                lines = self._linked(entry, now)
                _write_all(file, b"".join(line + b"\n" for line in lines), durable)
            except OSError:
                self._let_go()  # opened again, it is looked at as at a start
                self._lost += 1
                raise
            self.head = chain.digest(lines[-1])
            self._lost, self._torn = 0, None

    def close(self) -> None:
        """Let go of the file; a further line opens it again."""
        with self._lock:
            self._let_go()

    def _linked(self, entry: Mapping[str, Any], now: float) -> list[bytes]:
        if not self._lost and self._torn is None:
            return [chain.link(entry, self.head)]
        gap = chain.link({"event": "gap", "time": now, "lost": self._lost, "torn": self._torn}, self.head)
        return [gap, chain.link(entry, chain.digest(gap))]

    def _opened(self) -> int:
        """Return the file at the path, opened again when it is no longer the one that was opened before."""
        if self._file is not None and not self._moved(self._file):
            return self._file
        self._let_go()
        self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._resume(self._file)
        return self._file

    def _let_go(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _moved(self, file: int) -> bool:
        try:
            return not os.path.samestat(os.fstat(file), self._path.stat())
        except FileNotFoundError:
            return True

    def _resume(self, file: int) -> None:
        """Go on after the last whole line; half of one is cut off: what it was to tell of was never begun."""
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return
        tail = chain.tail(file)
        if tail.torn:
            os.ftruncate(file, tail.whole_size)
            self._torn = tail.torn[:_QUOTED].decode("ascii", "backslashreplace")
            log.warning("audit.torn", extra={"path": str(self._path), "bytes": len(tail.torn)})
        if self.head is None and tail.last is not None:
            self.head = chain.digest(tail.last)


def _write_all(file: int, data: bytes, durable: bool) -> None:
    """Write all of `data` at the file's end, or none of it."""
    before = os.fstat(file)
    left = memoryview(data)
    try:
        while left:
            left = left[os.write(file, left) :]
        if durable and stat.S_ISREG(before.st_mode):
            os.fdatasync(file)
    except OSError:
        if len(left) < len(data):
            with contextlib.suppress(OSError):  # where that is not allowed either, the next look finds half a line
                os.ftruncate(file, before.st_size)
        raise
