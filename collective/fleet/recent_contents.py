"""Keep what a call has read from the registry, so that programs that ask often send no requests.

    <state>/recent_<collective>.snapshot     the records: registry/snapshot.py
    <state>/recent_<collective>.json         when they were read, the times of each node, and invalid records

The two files belong together by that time. A file that cannot be read is as good as none. Both are only read and
written by their owner. Revoked keys are in `revoked_nodes`, see known_nodes.py.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from collective.registry import Contents, Nodes
from collective.registry import snapshot as snapshots
from collective.registry.snapshot import Head
from collective.replaced_file import replace_file


class RecentNodes:
    """The nodes of the registry as they were read at most `seconds` ago, or else of `connect()`, which is then read.

    `clock` returns Unix seconds.
    """

    def __init__(
        self,
        state: Path,
        collective: str,
        seconds: float,
        connect: Callable[[], Nodes],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._file = state / f"recent_{collective}.json"
        self._seconds = seconds
        self._connect = connect
        self._clock = clock
        self._contents: Contents | None = None
        self._time: float | None = None

    def now(self) -> float:
        """Return the servers' time of the read in Unix seconds: a node that was alive then must not look stale now."""
        return self._clock() if self._time is None else self._time

    def read(self) -> Contents:
        """Return the contents. Raises TransportError."""
        if self._contents is None:
            self._contents = self._load() or self._read_now()
        return self._contents

    def _load(self) -> Contents | None:
        with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
            found = json.loads(self._file.read_bytes())
            snapshot = snapshots.load(self._file.with_suffix(".snapshot"))
            heads = [Head(identity, instance, found["time"], *times) for identity, instance, *times in found["heads"]]
            age = self._clock() - float(found["time"])
            if snapshot is not None and 0 <= age <= self._seconds and all(map(snapshot.has, heads)):
                self._time = float(found["now"])
                return Contents([snapshot.record(head) for head in heads], found["invalid"])
        return None

    def _read_now(self) -> Contents:
        registry = self._connect()
        contents = registry.read()
        self._time = registry.now()
        with suppress(OSError):
            self._save(contents)
        return contents

    def _save(self, contents: Contents) -> None:
        when = repr(self._clock())
        snapshots.save(
            self._file.with_suffix(".snapshot"), contents.records, {one.identity: when for one in contents.records}
        )
        heads = [(one.identity, one.instance, one.last_seen, one.contested, one.left) for one in contents.records]
        content = {"time": when, "now": self._time, "heads": heads, "invalid": dict(contents.invalid)}
        replace_file(self._file, json.dumps(content).encode())
