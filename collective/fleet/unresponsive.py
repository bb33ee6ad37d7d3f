"""Find nodes that do not listen: their queues still show the request unread, seconds after it was sent.

    sent ── 5 s ──► look ── read ────► look again, after twice the time each time
                      └─── unread ──► look again after 2 s ── unread ──► deaf

A queue that looks read is looked at again, for a poll whose client died swallows a message for some seconds.
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

# Seconds that a request stays valid when others wait for the node's place: a node that was given up as deaf must not
# wake up and begin while the next one works. Servers tell their time in whole seconds: one less than the two looks.
ROLLOUT_TTL = FIRST_LOOK + SECOND_LOOK - 1.0


class _Look(NamedTuple):
    """A look that is planned: when, at whose queue, how long after the one before, and whether that found it unread."""

    when: float
    node: str
    gap: float
    suspect: bool


class DeafNodes:
    """The looks into the queues of one call's nodes. Times are float seconds of the call's clock."""

    def __init__(self, transport: Transport, collective: str) -> None:
        self._transport = transport
        self._collective = collective
        self._planned: list[_Look] = []  # a heap

    def sent(self, nodes: Iterable[str], now: float) -> None:
        """Plan the first looks at nodes that have just been sent to."""
        for node in nodes:
            heapq.heappush(self._planned, _Look(now + FIRST_LOOK, node, SECOND_LOOK / 2, suspect=False))

    def wake(self) -> float:
        """Return when the next look is planned."""
        return self._planned[0].when if self._planned else float("inf")

    def find(self, working: Collection[str], now: float) -> list[str]:
        """Do the looks that are due at nodes that are still `working`, and return who is deaf."""
        due = []
        while self.wake() <= now:
            look = heapq.heappop(self._planned)
            if look.node in working:
                due.append(look)
        deaf = []
        for look, unread in zip(due, in_parallel(self._unread, [look.node for look in due]), strict=True):
            if unread and look.suspect:
                deaf.append(look.node)
                continue
            gap = SECOND_LOOK if unread else look.gap * 2
            heapq.heappush(self._planned, _Look(now + gap, look.node, gap, suspect=unread))
        return deaf

    def _unread(self, node: str) -> bool:
        try:
            return self._transport.unread(names.node_queue(self._collective, node)) > 0
        except NotFound:
            return True
        except TransportError:
            return False  # it cannot be known: the node keeps its time
