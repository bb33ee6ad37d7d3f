"""An in-memory registry for tests; nodes and callers share one instance."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from collective.registry import Contents, NodeRecord, Revocation


class MemoryRegistry:
    """A dictionary of nodes. `clock` returns Unix seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._records: dict[str, NodeRecord] = {}
        self._revocations: dict[str, Revocation] = {}

    def now(self) -> float:
        """Return the time in Unix seconds."""
        return self._clock()

    def put(self, record: NodeRecord) -> None:
        """Store a record, seen now."""
        self._records[record.identity] = replace(record, last_seen=self._clock(), left=None, terminated=None)

    def heartbeat(self, identity: str, instance: str) -> str | None:
        """Set `last_seen` to now, if the record is of this instance; return the record's instance."""
        known = self._records.get(identity)
        if known is not None and known.instance == instance:
            self._records[identity] = replace(known, last_seen=self._clock())
        return known.instance if known else None

    def leave(self, identity: str, instance: str) -> None:
        """Set `left` to now, if the record is of this instance."""
        known = self._records.get(identity)
        if known is not None and known.instance == instance:
            self._records[identity] = replace(known, left=self._clock())

    def mark_terminated(self, record: NodeRecord) -> None:
        """Set `terminated` to now, if the record is of the same instance."""
        known = self._records.get(record.identity)
        if known is not None and known.instance == record.instance:
            self._records[record.identity] = replace(known, terminated=self._clock())

    def read(self) -> Contents:
        """Return all records and revocations."""
        return Contents(self.nodes(), {}, list(self._revocations.values()))

    def nodes(self) -> list[NodeRecord]:
        """Return all records."""
        return list(self._records.values())

    def record_revocation(self, revocation: Revocation) -> None:
        """Store a revocation."""
        self._revocations[revocation.fingerprint] = revocation

    def identities(self) -> set[str]:
        """Return the identities of all records."""
        return set(self._records)

    def remove(self, record: NodeRecord) -> bool:
        """Delete a record unless it has changed."""
        known = self._records.get(record.identity)
        same = known is not None and (known.instance, known.last_seen) == (record.instance, record.last_seen)
        if same:
            del self._records[record.identity]
        return same
