"""Where requests wait for approvals: one store, with a folder and a table of DynamoDB as its implementations.

    RequestFolder (request_folder.py)     callers of one machine, or of a shared file system
    RequestTable (request_table.py)       all callers of a collective

A plan that was saved in a file is a place of its own, so that it is approved and applied in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from collective.errors import UsageError

Document = dict[str, Any]

KEPT = 7 * 86400.0  # seconds after which an expired request is deleted
_ID = re.compile(r"[0-9a-f]{32}")
_PART = re.compile(r"[0-9a-f]{4,32}")


class StoredPlan(Protocol):
    """One saved plan in its place, which `where` names in messages; `path` is its file, if it is in one."""

    where: str
    path: Path | None

    def read(self) -> Document:
        """Return the plan as it is now, whose signature is not verified; raise UsageError when it is not one."""
        ...

    def replace(self, after: Mapping[str, Any]) -> bool:
        """Write a plan in place of the one that was read last; return False if that has been replaced since.

        Raises UsageError when it cannot be written.
        """
        ...


class RequestStore(Protocol):
    """The requests that wait for approvals, by the IDs of their runs."""

    def add(self, document: Mapping[str, Any]) -> StoredPlan:
        """Write a new request. Raises UsageError when it cannot be written, or is too large."""
        ...

    def all(self) -> Mapping[str, tuple[StoredPlan, Document]]:
        """Return the requests by ID, the oldest first; those that are not valid plans are omitted."""
        ...

    def find(self, word: str) -> StoredPlan:
        """Return a request by its ID, or the beginning of it; raise UsageError for none or several."""
        ...


def is_id(word: str) -> bool:
    """Return whether a word can be the ID of a request, or the beginning of one."""
    return _PART.fullmatch(word) is not None


def is_whole_id(word: str) -> bool:
    """Return whether a word is the ID of a request."""
    return _ID.fullmatch(word) is not None


def only(names: list[str], word: str, where: str) -> str:
    """Return the one ID in `names`; raise UsageError for none or several that begin with `word`."""
    if len(names) == 1:
        return names[0]
    if names:
        raise UsageError(f"{word}: several requests begin with it (give more of the ID)")
    raise UsageError(f"{word}: neither a file nor a request in {where} (crpc request lists them)")
