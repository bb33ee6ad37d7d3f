"""Count what becomes of requests, and how long things take, from several threads.

received + resumed = unvalidated + duplicates + elsewhere + expired + denied + filtered + invalid + busy
+ interrupted + passed + defects (+ those whose filter is just asking data functions)
passed             = the sum of all outcomes (+ those that wait, run, or are left to the next daemon)
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping

# What becomes of a request that is received, or resumed from an earlier daemon's journal: one of these, once.
FATES: Mapping[str, str] = {
    "unvalidated": "dropped: unreadable, unsigned, or for another collective",
    "duplicates": "known already: its first answer went out again, if there was one, ten times at most",
    "elsewhere": "meant for other nodes",
    "expired": "too old, or of another time",
    "denied": "the policy said no",
    "filtered": "its filter does not match this node",
    "invalid": "no such agent or action, or inputs that its DDL refuses",
    "busy": "too much to do, or the journal could not be written",
    "interrupted": "an earlier daemon stopped while it ran",
    "passed": "its action is run, or was to be run",
    "defects": "a fault of ours, which the log shows",
}

Key = tuple[str, ...]


class Counters:
    """Counters that start at 0, each with a name of one word or several."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counter: Counter[str | Key] = Counter()

    def add(self, name: str | Key) -> int:
        """Count one more, and return how many there are now."""
        with self._lock:
            self._counter[name] += 1
            return self._counter[name]

    def __getitem__(self, name: str | Key) -> int:
        with self._lock:
            return self._counter[name]

    def read(self) -> dict[Key, int]:
        """Return all that are not 0, by their words."""
        with self._lock:
            return {(name,) if isinstance(name, str) else name: count for name, count in self._counter.items()}


class Durations:
    """How often something took how long, by key: Prometheus's cumulative histograms. All times are seconds."""

    BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[Key, list[int]] = {}
        self._sums: defaultdict[Key, float] = defaultdict(float)

    def add(self, seconds: float, *key: str) -> None:
        """Note one more."""
        with self._lock:
            counts = self._counts.setdefault(key, [0] * (len(self.BOUNDS) + 1))
            counts[bisect_left(self.BOUNDS, seconds)] += 1
            self._sums[key] += seconds

    def read(self) -> dict[Key, tuple[list[int], float]]:
        """Return by key how many took at most each bound, and all of them at last; and their sum."""
        with self._lock:
            return {key: (_added_up(counts), self._sums[key]) for key, counts in self._counts.items()}


def _added_up(counts: list[int]) -> list[int]:
    return [sum(counts[: end + 1]) for end in range(len(counts))]
