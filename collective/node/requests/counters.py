"""Count events and measure durations, from several threads.

`Statistics` holds what a node counts about its requests:

received + resumed = the sum of reasons.COUNTERS (+ requests whose filter is waiting for data functions)
passed             = the sum of all outcomes (+ requests that wait, run, or are left to the next daemon)
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass, field

Key = tuple[str, ...]


class Counters:
    """Counters that start at 0, each named by a string or a tuple of strings."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counter: Counter[str | Key] = Counter()

    def add(self, name: str | Key) -> int:
        """Add one, and return the new value."""
        with self._lock:
            self._counter[name] += 1
            return self._counter[name]

    def __getitem__(self, name: str | Key) -> int:
        with self._lock:
            return self._counter[name]

    def read(self) -> dict[Key, int]:
        """Return all counters that are not 0, by their names as tuples."""
        with self._lock:
            return {(name,) if isinstance(name, str) else name: count for name, count in self._counter.items()}


class Durations:
    """Cumulative histograms of durations in seconds, by key, as Prometheus defines them."""

    BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[Key, list[int]] = {}
        self._sums: defaultdict[Key, float] = defaultdict(float)

    def add(self, seconds: float, *key: str) -> None:
        """Add one duration."""
        with self._lock:
            counts = self._counts.setdefault(key, [0] * (len(self.BOUNDS) + 1))
            counts[bisect_left(self.BOUNDS, seconds)] += 1
            self._sums[key] += seconds

    def read(self) -> dict[Key, tuple[list[int], float]]:
        """Return for each key the number of durations up to each bound, then of all durations; and their sum."""
        with self._lock:
            return {key: (_cumulative(counts), self._sums[key]) for key, counts in self._counts.items()}


def _cumulative(counts: list[int]) -> list[int]:
    return [sum(counts[: end + 1]) for end in range(len(counts))]


@dataclass(frozen=True)
class Statistics:
    """What a node counts.

    `requests` has the counters of reasons.COUNTERS, and received, resumed, validated, replies, deferred, lost.
    `ages` are those of requests on receipt. `durations` are of actions, by (agent, action), and `outcomes` their
    results, by (agent, action, outcome).
    """

    requests: Counters = field(default_factory=Counters)
    ages: Durations = field(default_factory=Durations)
    durations: Durations = field(default_factory=Durations)
    outcomes: Counters = field(default_factory=Counters)
