"""Count the fates of requests, from several threads."""

from __future__ import annotations

import threading
from collections import Counter


class Counts:
    """Named counters that start at 0."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counter: Counter[str] = Counter()

    def add(self, name: str) -> int:
        """Count one more, and return how many there are now."""
        with self._lock:
            self._counter[name] += 1
            return self._counter[name]

    def __getitem__(self, name: str) -> int:
        with self._lock:
            return self._counter[name]
