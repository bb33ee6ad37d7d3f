"""Share a node's places among its agents: each has a lane of its own, so that a slow one does not starve the others.

    enter(lane, step) ─► waiting, in order of arrival ─► running: the first whose lane has a place left

All in all `places` steps run and `waiting` more wait. One lane has at most three quarters of either, unless its
limit says how many of its steps may run at once.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor

from collective.errors import Failed

Step = Callable[[], None]


def share(total: int) -> int:
    """Return how much of a total one lane may have: three quarters, and at least one."""
    return max(1, total * 3 // 4)


class FairQueue:
    """Runs steps in `pool`, which has `places` threads; `limits` are steps at once, by lane."""

    def __init__(self, pool: Executor, places: int, waiting: int, limits: Mapping[str, int]) -> None:
        self._pool = pool
        self._places = places
        self._most_waiting = waiting
        self._limits = limits
        # Held while a step is handed to the pool: one that runs steps at once, in this thread, comes back here.
        self._lock = threading.RLock()
        self._waiting: deque[tuple[str, Step]] = deque()
        self._running: Counter[str] = Counter()
        self._closed = False

    def enter(self, lane: str, step: Step) -> bool:
        """Run a step when it is its turn; return whether it will be. Raise Failed (`busy`) when too much waits."""
        with self._lock:
            if self._closed:
                return False
            if not self._has_place(lane):
                self._check_room(lane)
            self._waiting.append((lane, step))
            self._go_on()
        return True

    def close(self) -> int:
        """Begin nothing further; return how many steps were waiting."""
        with self._lock:
            self._closed = True
            dropped = len(self._waiting)
            self._waiting.clear()
            return dropped

    def _has_place(self, lane: str) -> bool:
        limit = min(self._limits.get(lane, share(self._places)), self._places)
        return self._running.total() < self._places and self._running[lane] < limit

    def _check_room(self, lane: str) -> None:
        own = sum(name == lane for name, _ in self._waiting)
        if len(self._waiting) >= self._most_waiting or own >= share(self._most_waiting):
            raise Failed(
                f"this node has too much to do: {len(self._waiting)} requests wait, {own} of them for '{lane}': "
                "try again later",
                reason="busy",
            )

    def _go_on(self) -> None:
        while entry := next((entry for entry in self._waiting if self._has_place(entry[0])), None):
            self._waiting.remove(entry)
            lane, step = entry
            self._running[lane] += 1
            self._pool.submit(self._run, lane, step)

    def _run(self, lane: str, step: Step) -> None:
        try:
            step()
        finally:
            with self._lock:
                self._running[lane] -= 1
                self._go_on()
