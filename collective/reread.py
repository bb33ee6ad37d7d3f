"""Read a file again when its content changes, and keep the last valid version when the new one is not valid.

A file that other users can change counts as not valid: what it holds may be theirs.

The whole file is read and compared each time. These files are small, so that takes microseconds. Comparing the size
and modification time instead would miss a change that keeps the size within the resolution of the time stamp.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from collective.errors import ConfigError
from collective.text import plural

log = logging.getLogger(__name__)

Value = TypeVar("Value")
Parse = Callable[[str, Path], Value]
Guard = Callable[[Path], "str | None"]  # returns why a file must not be trusted; None if it may

_NEVER_READ = object()


class PartlyValid(ConfigError):
    """Parts of a file are not valid. `combine(before)` returns what applies from now on, after the last version."""

    def __init__(self, problems: Sequence[str], combine: Callable[[Any], Any]) -> None:
        others = f" (and {plural(len(problems) - 1, 'more problem')})" if problems[1:] else ""
        super().__init__(problems[0] + others)
        self._problems = tuple(problems)
        self.combine = combine

    @property
    def problems(self) -> tuple[str, ...]:
        """Every problem found, one line per problem."""
        return self._problems


@dataclass(frozen=True)
class NoValidVersion(Generic[Value]):
    """What applies while a file has never been valid: a value, or None for an error; `text` describes it in the log."""

    text: str
    value: Value | None = None


@dataclass(frozen=True)
class ReloadEvents:
    """The log events of a file: a valid version was read, and a version is not valid."""

    read: str
    broken: str


class ReloadedFile(Generic[Value]):
    """The current value of the file at `path`. Any number of threads may call `value`.

    `parse(text, path)` returns the value, and raises ConfigError for text that is not valid. `missing()` returns the
    value of a file that does not exist: that is a valid version too. `guard(path)` is asked at each read. Bytes that
    are not UTF-8 make a file invalid, unless `undecodable` is another error handler of `bytes.decode`.

    Each change of the file is logged once, as one of the `events`.
    """

    def __init__(
        self,
        path: Path,
        parse: Parse[Value],
        *,
        events: ReloadEvents,
        missing: Callable[[], Value],
        otherwise: NoValidVersion[Value],
        guard: Guard = lambda _path: None,
        undecodable: str = "strict",
    ) -> None:
        self.path = path
        self._guard = guard
        self._undecodable = undecodable
        self._parse = parse
        self._events = events
        self._missing = missing
        self._otherwise = otherwise
        self._lock = threading.Lock()
        self._content: object = _NEVER_READ
        self._valid: Value | None = None
        self._problems: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """The problems of the version that was read last, one line per problem; empty if it is valid."""
        return self._problems

    def value(self) -> Value:
        """Return the value of the file as it is now, or of its last valid version.

        Raise ConfigError when there has been no valid version and `otherwise` has no value.
        """
        with self._lock:
            content = self._guard(self.path) or _content(self.path)
            if content != self._content:
                self._content = content
                self._load(content)
            value = self._otherwise.value if self._valid is None else self._valid
        if value is None:
            raise ConfigError(f"{self.path}: not valid (see the log for the reason)")
        return value

    def _load(self, content: bytes | str | None) -> None:
        self._problems = ()
        try:
            if isinstance(content, str):
                raise ConfigError(content)
            if content is None:
                self._valid = self._missing()
            else:
                self._valid = parsed(self.path, content, self._parse, self._undecodable)
        except ConfigError as error:
            self._problems = tuple(error.problems)
            self._log(error)
            if isinstance(error, PartlyValid) and self._valid is not None:
                self._valid = error.combine(self._valid)
        else:
            log.info(self._events.read, extra={"path": str(self.path), "exists": content is not None})

    def _log(self, error: ConfigError) -> None:
        in_force = "the last valid version"
        if self._valid is None:
            in_force = self._otherwise.text
        elif isinstance(error, PartlyValid):
            in_force = "the valid lines, and the last valid version"
        for line in error.problems:
            log.error(self._events.broken, extra={"error": line, "in_force": in_force})


def _content(path: Path) -> bytes | str | None:
    """Return a file's content, None when it does not exist, or the error text (str) when it cannot be read."""
    try:
        return read(path)
    except ConfigError as error:
        return str(error)


def load(path: Path, parse: Parse[Value], undecodable: str = "strict") -> Value:
    """Return the parsed content of a file; one that does not exist counts as empty. Raise ConfigError."""
    return parsed(path, read(path) or b"", parse, undecodable)


def read(path: Path) -> bytes | None:
    """Return the content of a file, None when it does not exist. Raise ConfigError when it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def parsed(path: Path, content: bytes, parse: Parse[Value], undecodable: str = "strict") -> Value:
    """Return the parsed content of a file. Raise ConfigError when it is not UTF-8 or not valid."""
    try:
        return parse(content.decode("utf-8", undecodable), path)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from None
