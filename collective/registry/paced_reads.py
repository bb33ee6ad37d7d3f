"""Read a table without a stream: the times of all records, and the records that have changed.

    first   Scan of everything
    later   Scan of the heads: identity, instance, times, last change
              └ some records have changed: Scan with a filter, for those only

DynamoDB bills a Scan by the size of what it reads, whatever it returns (developer guide, "Scan"): what is saved is
transfer, and the time to decode the records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from collective.registry import Contents, NodeRecord
from collective.registry.feed import Observation
from collective.registry.snapshot import Head
from collective.registry.snapshot_nodes import PartlyReadNodes, read_missing


class PacedReads:
    """The feed of a table that is scanned; without a cursor."""

    cursor = None

    def __init__(self, registry: PartlyReadNodes) -> None:
        self._registry = registry
        self._records: dict[str, NodeRecord] = {}
        self._changes: dict[str, str] = {}  # when a record was last changed, by its writer's clock
        self._invalid: frozenset[str] = frozenset()
        self._read = False

    def resume(self, cursor: str | None) -> None:  # noqa: ARG002 - there is none
        """Read everything with the next read."""
        self._read = False

    def now(self) -> float:
        """Return the registry's time in Unix seconds."""
        return self._registry.now()

    def changes(self, *, complete: bool = False) -> Sequence[Observation]:
        """Return what has changed, or with `complete` everything."""
        if not self._read:
            contents, changes = self._registry.read_with_changes()
            self._records = {record.identity: record for record in contents.records}
            self._changes, self._read = changes, True
            return [Observation(contents)]
        observation = self._changed(*self._registry.read_heads())
        if complete:
            contents = replace(observation.contents, records=list(self._records.values()))
            return [Observation(contents)]
        return [observation]

    def _changed(self, heads: Sequence[Head], rest: Contents) -> Observation:
        """Return the records that differ from those known, and remember them."""
        found = [self._with_times(head) for head in heads if self._knows(head)]
        missing = [head for head in heads if not self._knows(head)]
        invalid = dict(rest.invalid)
        if missing:
            contents, changes = read_missing(self._registry, missing)
            self._changes |= changes
            found += contents.records
            invalid |= contents.invalid
        removed = self._records.keys() - {head.identity for head in heads} - invalid.keys()
        for identity in removed:
            del self._records[identity]
        records = [record for record in found if self._records.get(record.identity) != record]
        self._records |= {record.identity: record for record in records}
        return Observation(Contents(records, invalid, rest.revocations), False, frozenset(removed))

    def _knows(self, head: Head) -> bool:
        record = self._records.get(head.identity)
        same = record is not None and record.instance == head.instance
        return same and bool(head.changed) and self._changes.get(head.identity) == head.changed

    def _with_times(self, head: Head) -> NodeRecord:
        record = self._records[head.identity]
        times = {name: getattr(head, name) for name in ("last_seen", "contested", "left", "terminated")}
        same = all(getattr(record, name) == value for name, value in times.items())
        return record if same else replace(record, **times)
