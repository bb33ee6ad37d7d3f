"""Find unresponsive nodes: the request in their queue is still unread seconds after it was sent.

    sent ── 5 s ──► look ── read ────► look again, after twice the interval each time
                      └─── unread ──► look again after 2 s ── unread ──► unresponsive

A queue that was read is looked at again, because the poll of a client that died can hide a message for some seconds.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable
from typing import NamedTuple

from collective import names
from collective.errors import NotFound, TransportError
from collective.parallel import in_parallel
from collective.transport import Transport

FIRST_LOOK = 5.0  # seconds after sending
SECOND_LOOK = 2.0  # seconds after a look that found the request unread

MOST_LOOKS = 50  # in one second: a large fleet that works for a minute is not asked all the time
_ROUND = 1.0  # seconds

# TTL in seconds in a rollout: an unresponsive node must not start the action later, while the next node works. One
# second less than the two looks, because the servers' time has whole seconds.
ROLLOUT_TTL = FIRST_LOOK + SECOND_LOOK - 1.0


class _Look(NamedTuple):
    """A planned look at a node's queue, `interval` s after the one before; `suspect`: that one found it unread."""

    time: float
    node: str
    interval: float
    suspect: bool


class UnresponsiveNodes:
    """The looks into the queues of one call's nodes. Times are in seconds, by the call's clock."""

    def __init__(self, transport: Transport, collective: str) -> None:
        self._transport = transport
        self._collective = collective
        self._planned: list[_Look] = []  # a heap
        self._next_round = 0.0
        self._read: set[str] = set()  # nodes whose queue was empty at the last look

    def sent(self, nodes: Iterable[str], now: float) -> None:
        """Plan the first looks at nodes to which a request has been sent."""
        for node in nodes:
            heapq.heappush(self._planned, _Look(now + FIRST_LOOK, node, SECOND_LOOK / 2, suspect=False))

    def wake(self) -> float:
        """Return the time of the next look."""
        return max(self._planned[0].time, self._next_round) if self._planned else float("inf")

    def find(self, working: Collection[str], now: float) -> list[str]:
        """Look into the queues that are due, of nodes that are still `working`; return the unresponsive nodes."""
        due: list[_Look] = []
        while self.wake() <= now and len(due) < MOST_LOOKS:
            look = heapq.heappop(self._planned)
            if look.node in working:
                due.append(look)
        if len(due) == MOST_LOOKS:
            self._next_round = now + _ROUND
        unresponsive = []
        for look, unread in zip(due, in_parallel(self._unread, [look.node for look in due]), strict=True):
            if unread and look.suspect:
                unresponsive.append(look.node)
                continue
            (self._read.add if unread is False else self._read.discard)(look.node)
            interval = SECOND_LOOK if unread else look.interval * 2
            heapq.heappush(self._planned, _Look(now + interval, look.node, interval, suspect=bool(unread)))
        return unresponsive

    def have_read(self, nodes: Collection[str]) -> bool:
        """Return whether all of these nodes had read their queues when they were last looked at."""
        return self._read.issuperset(nodes)

    def _unread(self, node: str) -> bool | None:
        """Return whether a node's queue has unread messages; None if that is unknown, so that it keeps its timeout."""
        try:
            return self._transport.unread(names.node_queue(self._collective, node)) > 0
        except NotFound:
            return True
        except TransportError:
            return None
