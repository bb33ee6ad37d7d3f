"""Follow the registry: what has changed since the last read, for watchers.

FullReads        everything, at each read                       any registry
PacedReads       the times of all records, and what changed     a DynamoDB table (`paced_reads.py`)
StreamedReads    the changes of the table's stream              a DynamoDB table with a stream (`streamed_reads.py`)
FollowedTable    one of the last two                            (`followed_table.py`)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from collective.registry import Contents, Nodes


@dataclass(frozen=True)
class Observation:
    """What a read has found: everything that is in the registry, or if it is not `complete`, some of it.

    `contents` always has all revoked keys. `removed` are identities whose records were deleted.
    """

    contents: Contents
    complete: bool = True
    removed: frozenset[str] = frozenset()


class Feed(Protocol):
    """Reads the changes of a registry. Every method may raise Unreachable, AccessDenied and NotFound."""

    @property
    def cursor(self) -> str | None:
        """Where to resume; None without a stream."""
        ...

    def resume(self, cursor: str | None) -> None:
        """Begin where another feed has ended, with a complete observation of what is there now."""
        ...

    def now(self) -> float:
        """Return the server's time in Unix seconds."""
        ...

    def changes(self, *, complete: bool = False) -> Sequence[Observation]:
        """Return what has changed since the last call, in order. `complete`: the last observation has everything.

        The first observations after `resume` are as complete as necessary.
        """
        ...


class FullReads:
    """Reads everything each time."""

    cursor = None

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    def resume(self, cursor: str | None) -> None:
        """Do nothing: each observation is complete."""

    def now(self) -> float:
        """Return the registry's time in Unix seconds."""
        return self._nodes.now()

    def changes(self, *, complete: bool = False) -> Sequence[Observation]:  # noqa: ARG002 - it always is
        """Return everything."""
        return [Observation(self._nodes.read())]
