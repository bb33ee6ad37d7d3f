"""The folder of saved runs: list, find and prune the files.

runs = RunFolder(config.state / "runs")
runs.newest()                      the files, newest first
runs.find("last")                  one file: an ID, its beginning, last, or -2 for the one before the last
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collective.errors import UsageError
from collective.suggestions import suggest

_NAME = re.compile(r"([0-9]{13})-([0-9a-f]{32})\.jsonl")
_HEAD, _TAIL = 4096, 2048  # bytes; the first and the last line of a file are shorter
_PREFIX = re.compile(r"[0-9a-f]{4,32}")
_PLACE = re.compile(r"-[1-9][0-9]{0,8}")
_REPLY = b'{"event":"reply",'  # how the line of a reply begins
_LOOKS, _LOOK = 200, 0.01  # attempts to lock a new file, and seconds between them
_DAY = 86400.0
_MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class RunFile:
    """One saved run: its file, its ID, and when it began in Unix seconds."""

    path: Path
    run: str
    time: float

    @property
    def where(self) -> str:
        """The path of the file."""
        return str(self.path)

    def begin(self) -> Mapping[str, Any]:
        """Return the first line; empty if it is missing or broken. Raises OSError."""
        return self._ends()[0]

    def summary(self) -> RunSummary:
        """Return the first and the last line, and whether it is running. Raises OSError."""
        begin, end = self._ends()
        running = not end and self.is_running()
        if begin and not end and not running:
            begin, end = self._ends()  # it may have ended after it was read
        return RunSummary(self, begin, end, running)

    def _ends(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        with self.path.open("rb") as file:
            head = file.read(_HEAD)
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - _TAIL))
            tail = file.read(_TAIL)
        begin = _parsed(head.partition(b"\n")[0], "begin")
        complete = tail.removesuffix(b"\n") if tail.endswith(b"\n") else b""
        return begin, _parsed(complete.rpartition(b"\n")[2], "end")

    def count_replies(self) -> int:
        """Return the number of replies that have arrived. Raises OSError."""
        with self.path.open("rb") as file:
            return sum(line.startswith(_REPLY) and line.endswith(b"\n") for line in file)

    def is_running(self) -> bool:
        """Return whether a process still writes the file.

        This locks the file for a moment, in which no other process must try to take the run.
        """
        try:
            with ExitStack() as stack:
                with suppress(FileNotFoundError):  # nothing in this folder can be taken
                    stack.enter_context(locked(self.path.parent, create=False))
                file = stack.enter_context(self.path.open("rb"))
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False


@dataclass(frozen=True)
class RunSummary:
    """The first and last line of a run; empty for a line that is missing or broken.

    `running` says whether a process was still writing the file before the last line was read.
    """

    file: RunFile
    begin: Mapping[str, Any]
    end: Mapping[str, Any]
    running: bool

    @property
    def state(self) -> str:
        """How the run is: complete, running, unfinished (its process was killed) or broken."""
        if not self.begin:
            return "broken"
        if self.end:
            return "complete"
        return "running" if self.running else "unfinished"


@dataclass(frozen=True)
class RunFolder:
    """The saved runs in the folder `path`, kept for `days` and within `megabytes` in all."""

    path: Path
    days: float = 30.0
    megabytes: float = 100.0

    @property
    def most_bytes(self) -> int:
        """The size of all runs together, in bytes."""
        return int(self.megabytes * _MEGABYTE)

    def create(self, run: str, clock: Callable[[], float] = time.time) -> tuple[Path, int]:
        """Create the file of a run, and delete old ones; return its path and its locked descriptor. Raises OSError."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.path.stat().st_mode & 0o077:
            self.path.chmod(0o700)
        self.prune(clock)
        path = self.path / f"{int(clock() * 1000):013d}-{run}.jsonl"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_APPEND, 0o600)
        with suppress(OSError):  # not every network file system has locks
            _lock(file)  # tells others that the run is not over
        return path, file

    def newest(self) -> list[RunFile]:
        """Return the saved runs, the newest first; none if the folder does not exist or cannot be read."""
        try:
            names = os.listdir(self.path)  # noqa: PTH208 - pathlib takes three times as long
        except OSError:
            return []
        found = [match for name in sorted(names, reverse=True) if (match := _NAME.fullmatch(name))]
        return [RunFile(self.path / match[0], match[2], int(match[1]) / 1000) for match in found]

    def find(self, wanted: str) -> RunFile:
        """Return the run `wanted`: an ID, the beginning of one, `last`, or `-2` for the one before the last.

        Raises UsageError when there is no such run, or more than one.
        """
        runs = self.newest()
        if not runs:
            raise UsageError(f"there are no saved runs in {self.path}")
        if wanted == "last":
            return runs[0]
        if _PLACE.fullmatch(wanted):
            place = -int(wanted)
            if place > len(runs):
                raise UsageError(f"run '{wanted}': there are only {len(runs)} saved runs")
            return runs[place - 1]
        return self._by_prefix(wanted, runs)

    def _by_prefix(self, wanted: str, runs: list[RunFile]) -> RunFile:
        if not _PREFIX.fullmatch(wanted):
            hint = suggest(wanted, ["last"], "use an ID or its first 4 or more digits, last, or -2")
            raise UsageError(f"invalid run '{wanted}' ({hint})")
        found = [run for run in runs if run.run.startswith(wanted)]
        if not found:
            hint = suggest(wanted, [run.run[: len(wanted)] for run in runs], "'crpc runs' lists them")
            raise UsageError(f"there is no saved run '{wanted}' ({hint})")
        if len(found) > 1:
            some = ", ".join(run.run[: len(wanted) + 4] for run in found[:3])
            raise UsageError(f"run '{wanted}': {len(found)} runs begin with it: {some} (use more digits)")
        return found[0]

    def prune(self, clock: Callable[[], float] = time.time) -> None:
        """Delete the runs that are too old, and the oldest ones while all together are too large."""
        oldest, total = clock() - self.days * _DAY, 0
        for run, size in self._sizes():
            total += size
            if run.time < oldest or total > self.most_bytes:
                run.path.unlink(missing_ok=True)

    def _sizes(self) -> Iterator[tuple[RunFile, int]]:
        for run in self.newest():
            try:
                yield run, run.path.stat().st_size
            except OSError:  # another process has deleted it
                continue


def _lock(file: int) -> None:
    """Lock a new file. Another process may have it for a moment, to see whether it is locked. Raises OSError."""
    for _ in range(_LOOKS):
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOOK)
    raise BlockingIOError


@contextmanager
def locked(folder: Path, *, create: bool = True) -> Iterator[None]:
    """Let no other process change, take or look at a run in a folder that can be taken.

    Raises OSError; FileNotFoundError, unless `create`, if no process has done that yet.
    """
    flags = os.O_RDWR | os.O_CREAT if create else os.O_RDONLY
    file = os.open(folder / "lock", flags | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _parsed(line: bytes, event: str) -> Mapping[str, Any]:
    """Return a line as an object; an empty one if it is not JSON, or not of this event."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and found.get("event") == event else {}
