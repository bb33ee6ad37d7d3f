"""Read a large registry with a snapshot of its records: a scan then returns only what may have changed.

    no snapshot ─► read everything ─► large? ─► write a snapshot
    snapshot ────► read the heads: identity, times, last change
                       ├─ all records as in the snapshot ──► done
                       ├─ some have changed ───────────────► read those
                       └─ many have changed ───────────────► read everything, write a snapshot

A table that one scan reads needs none of this. Nodes before 0.3 do not write when they last changed: their records are
always read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from collective.registry import Contents, Nodes
from collective.registry import snapshot as snapshots
from collective.registry.snapshot import Head

LEAST = 500  # records; a smaller table is read with one request anyway
_MANY = 0.2  # share of changed records above which everything is read
_NEVER = "99999999999"  # Unix seconds
_SOME = 0.02  # share above which a new snapshot is written


class PartlyReadNodes(Nodes, Protocol):
    """A registry that can read parts of its records."""

    def read_with_changes(self) -> tuple[Contents, dict[str, str]]:
        """Return everything, and the last change of each record by identity."""
        ...

    def read_heads(self) -> tuple[Sequence[Head], Contents]:
        """Return the heads of all records; and revoked keys and invalid items, without records."""
        ...

    def read_changed(self, since: str) -> tuple[Contents, dict[str, str]]:
        """Return the records changed since then, and those that do not have their last change."""
        ...


class SnapshotNodes:
    """The nodes of `registry`, with a snapshot in the file `path`."""

    def __init__(self, registry: PartlyReadNodes, path: Path) -> None:
        self._registry = registry
        self._path = path

    def now(self) -> float:
        """Return the registry's time in Unix seconds."""
        return self._registry.now()

    def read(self) -> Contents:
        """Return the contents of the registry. Raises TransportError."""
        snapshot = snapshots.load(self._path)
        if snapshot is None or len(snapshot) < LEAST:
            return self._read_everything()
        heads, rest = self._registry.read_heads()
        known: list[Head] = []
        missing: list[Head] = []
        for head in heads:
            (known if snapshot.has(head) else missing).append(head)
        if len(missing) > _MANY * len(snapshot):
            return self._read_everything()
        records = [snapshot.record(head) for head in known]
        if not missing:
            return Contents(records, rest.invalid, rest.revocations)
        found, changes = read_missing(self._registry, missing)
        records += found.records
        if len(missing) > _SOME * len(snapshot):
            snapshots.save(self._path, records, {**changes, **{head.identity: head.changed for head in known}})
        return Contents(records, {**rest.invalid, **found.invalid}, rest.revocations)

    def _read_everything(self) -> Contents:
        contents, changes = self._registry.read_with_changes()
        if len(changes) >= LEAST:
            snapshots.save(self._path, contents.records, changes)
        return contents


def read_missing(registry: PartlyReadNodes, missing: Sequence[Head]) -> tuple[Contents, dict[str, str]]:
    """Return the records of these heads as they are in the table now, and their last changes by identity."""
    since = min((head.changed for head in missing if head.changed), default=_NEVER, key=float)
    found, changes = registry.read_changed(since)
    wanted = {head.identity for head in missing}
    records = [record for record in found.records if record.identity in wanted]
    return replace(found, records=records), {name: changed for name, changed in changes.items() if name in wanted}
