"""Share a node's threads among its agents, so that one slow agent does not starve the others.

    submit(agent, function, …) ─► waiting, in order of arrival ─► running: the first whose agent is below its limit

At most `places` calls run and `waiting` more wait. One agent gets at most three quarters of either, unless `limits`
has its own number of calls that may run at the same time.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from collective.node.requests.reasons import Reason, Refused


def share(total: int) -> int:
    """Return how much of a total one agent gets: three quarters, and at least one."""
    return max(1, total * 3 // 4)


@dataclass(frozen=True, eq=False)
class _Entry:
    """A call that waits or runs for an agent."""

    agent: str
    function: Callable[..., object]
    arguments: tuple[Any, ...]


class FairQueue:
    """Runs calls in `pool`, which has `places` threads; `limits` are calls at the same time, by agent."""

    def __init__(self, pool: Executor, places: int, waiting: int, limits: Mapping[str, int]) -> None:
        self._pool = pool
        self._places = places
        self._most_waiting = waiting
        self._limits = limits
        # Held while a call is submitted to the pool. Reentrant, because a pool may run the call in this thread.
        self._lock = threading.RLock()
        self._waiting: deque[_Entry] = deque()
        self._running: Counter[str] = Counter()
        self._closed = False

    def submit(self, agent: str, function: Callable[..., object], *arguments: Any) -> bool:
        """Call `function` when it is the agent's turn; return False if the queue is closed.

        Raises Refused (BUSY) if too many calls are waiting.
        """
        with self._lock:
            if self._closed:
                return False
            if not self._has_place(agent):
                self._check_room(agent)
            self._waiting.append(_Entry(agent, function, arguments))
            self._start_waiting()
        return True

    def close(self) -> int:
        """Start no further call; return how many were waiting."""
        with self._lock:
            self._closed = True
            dropped = len(self._waiting)
            self._waiting.clear()
            return dropped

    def _has_place(self, agent: str) -> bool:
        limit = min(self._limits.get(agent, share(self._places)), self._places)
        return self._running.total() < self._places and self._running[agent] < limit

    def _check_room(self, agent: str) -> None:
        own = sum(entry.agent == agent for entry in self._waiting)
        if len(self._waiting) >= self._most_waiting or own >= share(self._most_waiting):
            counts = f"{len(self._waiting)} requests are waiting, {own} of them for '{agent}'"
            raise Refused(Reason.BUSY, f"this node is busy: {counts} (try again later)")

    def _start_waiting(self) -> None:
        while entry := next((entry for entry in self._waiting if self._has_place(entry.agent)), None):
            self._waiting.remove(entry)
            self._running[entry.agent] += 1
            try:
                self._pool.submit(self._run, entry)
            except RuntimeError:
                self._running[entry.agent] -= 1
                raise

    def _run(self, entry: _Entry) -> None:
        try:
            entry.function(*entry.arguments)
        finally:
            with self._lock:
                self._running[entry.agent] -= 1
                self._start_waiting()
