"""The folder of requests that wait for approvals: one saved plan each, by the ID of its run.

It may be shared by several callers: a file is replaced under a lock, and only if it is still the one that was read.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from collective.errors import UsageError
from collective.fleet import approvals
from collective.fleet.plan import read_saved
from collective.fleet.request_store import KEPT, Document, StoredPlan, is_whole_id, only
from collective.replaced_file import replace_file


class PlanFile:
    """A saved plan in a file."""

    def __init__(self, path: Path) -> None:
        self.path: Path | None = path
        self._path = path
        self.where = str(path)
        self._seen: Document | None = None

    def read(self) -> Document:
        """Return the plan as it is now."""
        self._seen = read_saved(self._path)
        return self._seen

    def replace(self, after: Mapping[str, Any]) -> bool:
        """Write a plan, unless another one than that which was read is there now."""
        with _locked(self._path):
            if read_saved(self._path) != self._seen:
                return False
            _rewrite(self._path, after)
        return True


class RequestFolder:
    """The requests in the folder `path`. Methods raise UsageError when it cannot be read or written.

    `now` returns the time in Unix seconds.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self.path = path
        self._now = now

    def add(self, document: Mapping[str, Any]) -> PlanFile:
        """Write a new request; those whose time has been over for long are deleted."""
        path = self._file(document["run"])
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(_text(document))
        except OSError as error:
            raise UsageError(f"{path}: cannot be written: {error.strerror}") from None
        for other, (_, content) in self.all().items():
            if self._now() > approvals.expires(content) + KEPT:
                self._file(other).unlink(missing_ok=True)
        return PlanFile(path)

    def all(self) -> dict[str, tuple[StoredPlan, Document]]:
        """Return the requests by ID, the oldest first; files that are not valid plans are omitted."""
        found: dict[str, tuple[PlanFile, Document]] = {}
        for name in self._names():
            place = PlanFile(self._file(name))
            try:
                found[name] = (place, place.read())
            except UsageError:
                continue
        return dict(sorted(found.items(), key=lambda item: float(item[1][1]["created"])))

    def find(self, word: str) -> PlanFile:
        """Return a request by its ID, or the beginning of it."""
        names = [name for name in self._names() if name.startswith(word)]
        return PlanFile(self._file(only(names, word, str(self.path))))

    def _file(self, name: str) -> Path:
        return self.path / f"{name}.json"

    def _names(self) -> list[str]:
        try:
            return [path.stem for path in sorted(self.path.glob("*.json")) if is_whole_id(path.stem)]
        except OSError as error:
            raise UsageError(f"{self.path}: {error.strerror}") from None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of the folder of a file: others wait before they read a file that they will replace."""
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"{path.parent}: {error.strerror}") from None
    try:
        _lock(folder)
        yield
    finally:
        os.close(folder)


def _rewrite(path: Path, document: Mapping[str, Any]) -> None:
    """Replace a plan, which the same callers can read and write as before."""
    try:
        replace_file(path, _text(document).encode(), stat.S_IMODE(path.stat().st_mode))
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None


def _lock(folder: int) -> None:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
    except OSError:  # not every network file system has locks
        return


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2) + "\n"
