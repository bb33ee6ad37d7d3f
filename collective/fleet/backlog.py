"""Until when all replies have been received: a node whose reply may still be in the queue is not silent.

    messages received    more may be waiting: those sent as long ago as the oldest of them, and 5 s more
    empty long poll      none is waiting

A caller that is slow, or has many replies, receives the last ones long after they were sent. Without this, their nodes
would be silent as soon as the timeout is over.
"""

from __future__ import annotations

from collections.abc import Sequence

from collective.transport import BATCH, Delivery

MOST_BACKLOG = 60.0  # seconds by which timeouts are extended: anyone who can write to the queue can fill it
LAST_LOOK = 2.0  # seconds of a poll when a timeout is over; SQS polls all its servers from 1 s on
_MARGIN = 5.0  # seconds, because SQS does not keep the order of messages


class Backlog:
    """What is known about the replies of one call that have not been received. Times are in seconds, by its clock.

    `waiting`: there may be some. `full`: the last receive that returned messages returned as many as one can.
    """

    def __init__(self, began: float) -> None:
        self.waiting = True
        self.full = False
        self._heard = began

    def note(self, deliveries: Sequence[Delivery], now: float, server_time: float, *, empty: bool) -> None:
        """Note what was received until `now`; `empty`: a long poll has found that nothing is waiting."""
        if deliveries:
            self.waiting = True
            self.full = len(deliveries) >= BATCH
            self._heard = now - max(0.0, server_time - min(one.sent for one in deliveries)) - _MARGIN
        elif empty:
            self.waiting = self.full = False

    def heard(self, now: float) -> float:
        """Return the time until when all replies have been received."""
        return max(self._heard, now - MOST_BACKLOG) if self.waiting else now
