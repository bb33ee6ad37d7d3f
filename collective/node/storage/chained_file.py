"""Append hash-chained lines to a file, also after a full disk, a log rotation, or a crash within a line."""

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

_MAX_TORN = 4096  # bytes of a torn line that are kept


class ChainedFile:
    """A file of JSON lines, each with the hash of the previous line. Any number of threads may append.

    The chain continues over restarts, and from a rotated file to the new one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._lock = threading.Lock()
        self._lost = 0
        self._torn: str | None = None
        self.head: str | None = None

    def append(self, entry: Mapping[str, Any], now: float, *, durable: bool = False) -> None:
        """Append one line. On failure, raise OSError and leave the file unchanged.

        With `durable`, the line is on the disk when this returns. `now` (Unix seconds) is the time of the "gap" line,
        which is added if earlier lines could not be written.
        """
        with self._lock:
            try:
                file = self._opened()
                lines = self._linked(entry, now)
                _write_all(file, b"".join(line + b"\n" for line in lines), durable)
            except OSError:
                self._close()  # the next append opens the file and repairs its end, as after a restart
                self._lost += 1
                raise
            self.head = chain.digest(lines[-1])
            self._lost, self._torn = 0, None

    def close(self) -> None:
        """Close the file. The next line opens it again."""
        with self._lock:
            self._close()

    def _linked(self, entry: Mapping[str, Any], now: float) -> list[bytes]:
        if not self._lost and self._torn is None:
            return [chain.link(entry, self.head)]
        gap = chain.link({"event": "gap", "time": now, "lost": self._lost, "torn": self._torn}, self.head)
        return [gap, chain.link(entry, chain.digest(gap))]

    def _opened(self) -> int:
        """Return the descriptor of the file, opened again if the path now names another file."""
        if self._file is not None and not self._moved(self._file):
            return self._file
        self._close()
        self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._read_end(self._file)
        return self._file

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _moved(self, file: int) -> bool:
        try:
            return not os.path.samestat(os.fstat(file), self._path.stat())
        except FileNotFoundError:
            return True

    def _read_end(self, file: int) -> None:
        """Find the last complete line. Remove an incomplete one: the action that it describes never started."""
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return
        tail = chain.tail(file)
        if tail.torn:
            os.ftruncate(file, tail.whole_size)
            self._torn = tail.torn[:_MAX_TORN].decode("ascii", "backslashreplace")
            log.warning("audit.torn", extra={"path": str(self._path), "bytes": len(tail.torn)})
        if self.head is None and tail.last is not None:
            self.head = chain.digest(tail.last)


def _write_all(file: int, data: bytes, durable: bool) -> None:
    """Append all of `data` to the file, or nothing."""
    before = os.fstat(file)
    left = memoryview(data)
    try:
        while left:
            left = left[os.write(file, left) :]
        if durable and stat.S_ISREG(before.st_mode):
            os.fdatasync(file)
    except OSError:
        if len(left) < len(data):
            with contextlib.suppress(OSError):  # otherwise the next open removes the incomplete line
                os.ftruncate(file, before.st_size)
        raise
