"""The folder of requests that wait for approvals: one saved plan each, by the ID of its run.

It may be shared by several callers: signatures are added under a lock, so that two that approve at once both count.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from collective.errors import UsageError
from collective.fleet.plan import read_saved

KEPT = 7 * 86400.0  # seconds after which an expired request is deleted
_ID = re.compile(r"[0-9a-f]{32}")
_PART = re.compile(r"[0-9a-f]{4,32}")

Document = dict[str, Any]


class RequestFolder:
    """The requests in the folder `path`. Methods raise UsageError when it cannot be read or written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, document: Mapping[str, Any], expired: Callable[[Document], float]) -> Path:
        """Write a new request; return its path. Those whose time, by `expired`, is over for long are deleted."""
        path = self.path / f"{document['run']}.json"
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(_text(document))
        except OSError as error:
            raise UsageError(f"{path}: cannot be written: {error.strerror}") from None
        for name, other in self.all().items():
            if expired(other) > KEPT:
                (self.path / f"{name}.json").unlink(missing_ok=True)
        return path

    def all(self) -> dict[str, Document]:
        """Return the requests by ID, the oldest first; files that are not valid plans are omitted."""
        found: dict[str, Document] = {}
        try:
            paths = sorted(self.path.glob("*.json"))
        except OSError as error:
            raise UsageError(f"{self.path}: {error.strerror}") from None
        for path in paths:
            if _ID.fullmatch(path.stem):
                document = _valid(path)
                if document is not None:
                    found[path.stem] = document
        return dict(sorted(found.items(), key=lambda item: float(item[1]["created"])))

    def find(self, word: str) -> Path:
        """Return the file of a request by its ID, or the beginning of it; raise UsageError for none or several."""
        names = [path.stem for path in self.path.glob("*.json") if path.stem.startswith(word)]
        if len(names) == 1:
            return self.path / f"{names[0]}.json"
        if names:
            raise UsageError(f"{word}: several requests begin with it (give more of the ID)")
        raise UsageError(f"{word}: neither a file nor a request in {self.path} (crpc request lists them)")


def is_id(word: str) -> bool:
    """Return whether a word can be the ID of a request, or the beginning of one."""
    return _PART.fullmatch(word) is not None


@contextmanager
def locked(path: Path) -> Iterator[None]:
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


def replace_file(path: Path, document: Mapping[str, Any]) -> None:
    """Write a plan atomically: an interrupted command leaves the old one."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        with new.open("x", encoding="utf-8") as file:  # never through a link that another user has put there
            file.write(_text(document))
        new.replace(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None


def _lock(folder: int) -> None:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
    except OSError:  # not every network file system has locks
        return


def _valid(path: Path) -> Document | None:
    try:
        return read_saved(path)
    except UsageError:
        return None


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2) + "\n"
