"""The record of runs in the folder of saved runs, for the callers of one user on one machine.

A record is the file of a saved run. Its lease is a lock on this file, which ends with the process that has it; a lock
on the file `lock` of the folder makes reading and appending one step. It also keeps others from looking at leases while
one is taken.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from collective.errors import UsageError
from collective.fleet.runs import saved_run
from collective.fleet.runs.folder import RunFolder, RunSummary, locked
from collective.fleet.runs.saved_run import SavedRun
from collective.fleet.steering.run_log import Event, Holder, RunEntry, RunLog, RunProgress
from collective.fleet.steering.statements import PAUSE, RESUME

_ENDLESS = float("inf")  # seconds: a lock does not end while its process lives


class FileLog:
    """The events in a file; positions are in bytes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def news(self) -> list[Event]:
        """Return the complete lines that are new."""
        if self._path.stat().st_size <= self._read:
            return []
        with self._path.open("rb") as file:
            file.seek(self._read)
            lines = file.read()
        complete = lines[: lines.rfind(b"\n") + 1]
        self._read += len(complete)
        return [event for line in complete.splitlines() if (event := saved_run.parsed(line)) is not None]

    def append(self, events: Sequence[Event]) -> list[Event]:
        """Append lines, unless there are new ones."""
        with locked(self._path.parent):
            if found := self.news():
                return found
            lines = b"".join(json.dumps(event, separators=(",", ":")).encode() + b"\n" for event in events)
            with self._path.open("ab") as file:
                if file.tell() > self._read:  # the rest of a line of a process that was killed
                    lines = b"\n" + lines
                    self._read = file.tell()
                file.write(lines)
            self._read += len(lines)
        return []


class FileRunStore:
    """The runs in a folder."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._leases: dict[str, int] = {}  # by run, the file descriptor with the lock

    def now(self) -> float:
        """Return this machine's time in Unix seconds."""
        return time.time()

    def create(self, events: Sequence[Event], holder: Holder) -> RunLog:  # noqa: ARG002 - an event names it
        """Create the file, and lock it."""
        run = str(events[0]["run"])
        path, self._leases[run] = self._folder.create(run)
        log = FileLog(path)
        log.append(events)
        return log

    def runs(self) -> list[RunEntry]:
        """Return the runs that can be steered; those that cannot be read are omitted."""
        found = []
        for file in self._folder.newest():
            with suppress(OSError, UsageError):
                summary = file.summary()
                if summary.begin.get("steered"):
                    found.append(_entry(summary))
        return found

    def log(self, run: RunEntry) -> RunLog:
        """Return the lines of a file."""
        return FileLog(self._path(run.run))

    def take(self, run: RunEntry, holder: Holder) -> bool:  # noqa: ARG002 - the lock has no name
        """Lock the file."""
        path = self._path(run.run)
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with locked(path.parent):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        self._leases[run.run] = file
        return True

    def renew(self, run: str, holder: Holder, progress: RunProgress) -> bool:  # noqa: ARG002 - a lock needs no renewal
        """Return whether the file is still locked."""
        return run in self._leases

    def release(self, run: str, holder: Holder, end: Event | None) -> None:  # noqa: ARG002 - the file has it
        """Unlock the file."""
        if (file := self._leases.pop(run, None)) is not None:
            os.close(file)

    def _path(self, run: str) -> Path:
        return self._folder.find(run).path


def _entry(summary: RunSummary) -> RunEntry:
    file, begin, end = summary.file, summary.begin, summary.end
    if end:
        return RunEntry(file.run, file.time, begin, end, progress=RunProgress(counts=end["outcomes"]))
    seconds = _ENDLESS if summary.running else 0.0
    run = saved_run.read(file)
    return RunEntry(file.run, file.time, begin, {}, _holder(run), seconds, progress_of(run))


def _holder(run: SavedRun) -> Holder | None:
    taken = [event for event in run.steering if event["event"] == "taken"]
    if not taken:
        return None
    last = taken[-1]
    return Holder(last["id"], last["caller"], str(last.get("host", "")), int(last.get("process", 0)))


def progress_of(run: SavedRun) -> RunProgress:
    """Return how far a run has come, by its events."""
    orders = [event["order"] for event in run.steering if event["event"] == "order"]
    last = next((order for order in reversed(orders) if order in (PAUSE, RESUME)), RESUME)
    failed = sum(reply["statuscode"] != 0 for reply in run.replies.values())
    counts = {"ok": len(run.replies) - failed, "failed": failed, "skipped": len(run.skipped)}
    return RunProgress(last == PAUSE, counts=counts)
