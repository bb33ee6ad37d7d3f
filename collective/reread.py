"""A file that is read again when it has changed; a new version that is broken leaves the last good one in force.

It is read each time and compared: some microseconds, and no change can hide behind a time stamp.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from collective.errors import ConfigError, SignatureError

log = logging.getLogger(__name__)

Value = TypeVar("Value")
Parse = Callable[[str, Path], Value]

_NOTHING_YET = object()


class Reread(Generic[Value]):
    """What `parse` makes of the file at `path`; one that is not there is like an empty one. Any thread may ask."""

    def __init__(self, path: Path, parse: Parse[Value]) -> None:
        self.path = path
        self._parse = parse
        self._lock = threading.Lock()
        self._seen: object = _NOTHING_YET
        self._good: Value | None = None

    def value(self) -> Value:
        """Return what the file says now, or said when it was last right; raise SignatureError when it never was."""
        with self._lock:
            self._look()
            if self._good is None:
                raise SignatureError(f"nobody is trusted before {self.path} is put right")
            return self._good

    def _look(self) -> None:
        seen = _what_is_in(self.path)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            if isinstance(seen, str):
                raise ConfigError(seen)
            self._good = parsed(self.path, seen, self._parse)
        except ConfigError as error:
            in_force = "nobody is trusted" if self._good is None else "what the file said before"
            log.error("trust.broken", extra={"error": str(error), "in_force": in_force})
        else:
            log.info("trust.read", extra={"path": str(self.path), "exists": seen is not None})


def _what_is_in(path: Path) -> bytes | str | None:
    """Return a file's bytes, None when there is none, and a text, why, when it cannot be read."""
    try:
        return read(path)
    except ConfigError as error:
        return str(error)


def load(path: Path, parse: Parse[Value]) -> Value:
    """Return what a file says; raise ConfigError naming file and line."""
    return parsed(path, read(path), parse)


def read(path: Path) -> bytes | None:
    """Return what is in a file; None when there is none. Raise ConfigError when it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def parsed(path: Path, data: bytes | None, parse: Parse[Value]) -> Value:
    """Return what `parse` makes of a file's bytes; raise ConfigError."""
    try:
        return parse((data or b"").decode("utf-8"), path)
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text") from None
