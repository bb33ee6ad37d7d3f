"""Roll out: to whom to send now, when to look again, and when to stop; a state machine without clock or network.

    waiting ── sent ──► working ── answered ──► done, or failed
       │                   └────── time over ─► silent ── answered late ──► done, or failed
       └── stopped ──► skipped

How fast nodes move from waiting to working is the caller's wish, a `Pace`; all of these combine:

* concurrency N: at most N nodes are at work at once. Who answers makes room for the next, and so does a node whose
  own time (the call's timeout, from the moment it was sent to) is over.
* batch N or N%: nodes are let go N at a time. The next batch begins when all of the one before have answered or
  are silent, and a pause (batch_sleep) has passed. A percentage is of the expected nodes, rounded up.
* max_fail N or N%: nobody further is sent to once so many have failed or stayed silent; who is at work then is still
  waited for. A percentage is rounded down, to one at least. Alone, without concurrency or batch, it says how many
  work at once as well: never more than may still fail, so that no more than N ever do.

Without any of them all nodes are sent to at once. Nodes go in the order of their names. Times are float seconds of one
clock, which is the caller's business; they never run backwards.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from types import MappingProxyType

from collective.fleet.pace import Pace


class Rollout:
    """The nodes of one call, each in one state. `timeout` is the seconds that each has from when it was sent to.

    `stopped` says why nobody further is sent to; it is empty as long as that is not so.
    """

    def __init__(self, nodes: Collection[str], pace: Pace, timeout: float) -> None:
        total = len(nodes)
        self.stopped = ""
        self._timeout = timeout
        self._waiting = dict.fromkeys(sorted(nodes))
        self._working: dict[str, float] = {}  # when each was sent to; the oldest first
        self._silent: set[str] = set()
        self._failed = 0
        self._concurrency = pace.concurrency
        self._batch = total if pace.batch is None else pace.batch.ceil(total)
        self._batch_left = self._batch  # how many of this batch may still be sent to
        self._batch_sleep = pace.batch_sleep
        self._resume: float | None = None  # when the pause after this batch ends
        self._max_fail = None if pace.max_fail is None else pace.max_fail.floor(total)
        self._only_max_fail = pace.concurrency is None and pace.batch is None

    @property
    def working(self) -> Mapping[str, float]:
        """The nodes that were sent to and are waited for, each with when it was sent to; the oldest first."""
        return MappingProxyType(self._working)

    @property
    def waiting(self) -> Collection[str]:
        """The nodes that were not sent to, sorted."""
        return self._waiting.keys()

    @property
    def over(self) -> bool:
        """Whether nobody is waited for and nobody will be sent to."""
        return not self._working and (bool(self.stopped) or not self._waiting)

    def due(self, now: float) -> list[str]:
        """Return to whom to send now; whoever does so says it with `sent`."""
        if self.stopped or not self._waiting:
            return []
        if not self._batch_left and not self._working:
            self._next_batch(now)
        return list(islice(self._waiting, max(0, min(self._batch_left, self._room()))))

    def sent(self, nodes: Iterable[str], now: float) -> None:
        """Note that nodes have been sent to: their time runs from now."""
        for node in nodes:
            del self._waiting[node]
            self._working[node] = now
            self._batch_left -= 1

    def answered(self, node: str, ok: bool) -> None:
        """Note a node's answer, even when it was given up; who was not sent to, or has answered, changes nothing."""
        if node in self._working:
            del self._working[node]
        elif node in self._silent:
            self._silent.remove(node)
        else:
            return
        self._failed += not ok
        self._look_at_failures()

    def give_up(self, nodes: Iterable[str]) -> None:
        """Wait no longer for nodes: they are silent, unless they answer late."""
        for node in nodes:
            if self._working.pop(node, None) is not None:
                self._silent.add(node)
        self._look_at_failures()

    def expire(self, now: float) -> None:
        """Give up the nodes whose time is over."""
        over = []
        for node, since in self._working.items():
            if now < since + self._timeout:
                break
            over.append(node)
        self.give_up(over)

    def stop(self, why: str) -> None:
        """Send to nobody further. The first reason stays."""
        self.stopped = self.stopped or why

    def wake(self) -> float:
        """Return when to look again at the latest, though nobody answers: a node's time or a pause is then over."""
        if self._working:
            return next(iter(self._working.values())) + self._timeout
        return float("-inf") if self._resume is None else self._resume

    def _room(self) -> int:
        """Return how many more may be at work."""
        if self._concurrency is not None:
            return self._concurrency - len(self._working)
        if self._max_fail is not None and self._only_max_fail:
            return self._max_fail - self._failures() - len(self._working)
        return len(self._waiting)

    def _next_batch(self, now: float) -> None:
        if self._resume is None:
            self._resume = now + self._batch_sleep
        if now >= self._resume:
            self._resume = None
            self._batch_left = self._batch

    def _failures(self) -> int:
        return self._failed + len(self._silent)

    def _look_at_failures(self) -> None:
        if self._max_fail is not None and self._failures() >= self._max_fail:
            self.stop(f"{self._failures()} failed or stayed silent, and max-fail is {self._max_fail}")
