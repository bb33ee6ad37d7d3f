"""Decide which nodes to send to, when to look again and when to stop: a state machine without clock or network.

    waiting ── sent ──► working ── answered ──► ok, or failed
       │                   └────── timed out ─► silent ── answered late ──► ok, or failed
       └── stopped ──► skipped

A `Pace` sets how fast nodes move from waiting to working. Its settings combine:

* concurrency N: at most N nodes work at the same time. A node that has answered or timed out makes room for the next.
* batch N or N%: nodes are sent to in batches of N. The next batch begins when every node of the batch before has
  answered or timed out, and the pause (batch_sleep) is over. A percentage is of the expected nodes, rounded up.
* max_fail N or N%: no further nodes are sent to once N have failed or are silent; working nodes are still waited for.
  A percentage is rounded down, to at least one. Without concurrency and batch, max_fail also limits concurrency: the
  number of working nodes never exceeds the number that may still fail, so no more than N can ever fail.

Without these settings all nodes are sent to at once. Nodes are sent to in the order of their names. Times are in
seconds, by a clock of the caller's that never runs backwards.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from types import MappingProxyType

from collective.fleet.pace import Pace
from collective.fleet.progress import MAX_AWAITED, CallProgress
from collective.text import plural


class Rollout:
    """The nodes of one call, each in one state. A node times out `timeout` seconds after it was sent to.

    `stopped` is the reason why no further nodes are sent to; else it is empty.
    """

    def __init__(self, nodes: Collection[str], pace: Pace, timeout: float) -> None:
        total = self._total = len(nodes)
        self.stopped = ""
        self._timeout = timeout
        self._waiting = dict.fromkeys(sorted(nodes))
        self._working: dict[str, float] = {}  # by node, the time of sending; oldest first
        self._silent: set[str] = set()
        self._failed = 0
        self._concurrency = pace.concurrency
        self._batch = total if pace.batch is None else pace.batch.ceil(total)
        self._batch_left = self._batch  # nodes of this batch not yet sent to
        self._batch_sleep = pace.batch_sleep
        self._resume: float | None = None  # the end of the pause after this batch
        self._max_fail = None if pace.max_fail is None else pace.max_fail.floor(total)
        self._only_max_fail = pace.concurrency is None and pace.batch is None

    @property
    def working(self) -> Mapping[str, float]:
        """The nodes that work, with the time of sending; oldest first."""
        return MappingProxyType(self._working)

    @property
    def waiting(self) -> Collection[str]:
        """The nodes not sent to, sorted."""
        return self._waiting.keys()

    def progress(self, elapsed: float) -> CallProgress:
        """Return the counts of nodes by state; another thread may call this while nodes change their states."""
        working, waiting, silent, failed = list(self._working), len(self._waiting), len(self._silent), self._failed
        return CallProgress(
            total=self._total,
            ok=max(0, self._total - waiting - len(working) - silent - failed),
            failed=failed,
            silent=silent,
            running=len(working),
            waiting=waiting,
            awaited=tuple(working[:MAX_AWAITED]),
            batch=self._batch if self._batch < self._total else 0,
            max_fail=self._max_fail,
            elapsed=elapsed,
        )

    @property
    def over(self) -> bool:
        """Whether no node works and none will be sent to."""
        return not self._working and (bool(self.stopped) or not self._waiting)

    def due(self, now: float) -> list[str]:
        """Return the nodes to send to now; `sent` must be called for those that were."""
        if self.stopped or not self._waiting:
            return []
        if not self._batch_left and not self._working:
            self._next_batch(now)
        return list(islice(self._waiting, max(0, min(self._batch_left, self._room()))))

    def sent(self, nodes: Iterable[str], now: float) -> None:
        """Record that nodes were sent to; their timeouts start now."""
        for node in nodes:
            del self._waiting[node]
            self._working[node] = now
            self._batch_left -= 1

    def answered(self, node: str, ok: bool) -> None:
        """Record a node's reply, even if it is late; nodes not sent to and second replies are ignored."""
        if node in self._working:
            del self._working[node]
        elif node in self._silent:
            self._silent.remove(node)
        else:
            return
        self._failed += not ok
        self._check_failures()

    def give_up(self, nodes: Iterable[str]) -> None:
        """Stop waiting for nodes: they are silent unless they answer late."""
        for node in nodes:
            if self._working.pop(node, None) is not None:
                self._silent.add(node)
        self._check_failures()

    def expire(self, now: float) -> None:
        """Stop waiting for the nodes that have timed out."""
        over = []
        for node, since in self._working.items():
            if now < since + self._timeout:
                break
            over.append(node)
        self.give_up(over)

    def stop(self, reason: str) -> None:
        """Send to no further nodes. The first reason is kept."""
        self.stopped = self.stopped or reason

    def wake(self) -> float:
        """Return the latest time to check again without a reply: the next timeout, or the end of a pause."""
        if self._working:
            return next(iter(self._working.values())) + self._timeout
        return float("-inf") if self._resume is None else self._resume

    def _room(self) -> int:
        """Return how many more nodes may work."""
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

    def _check_failures(self) -> None:
        if self._max_fail is not None and self._failures() >= self._max_fail:
            self.stop(f"{plural(self._failures(), 'node')} failed or silent, max-fail is {self._max_fail}")
