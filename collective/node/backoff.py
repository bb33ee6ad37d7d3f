"""Random pauses, so that many nodes that start together do not keep sending at the same moments.

    between retries     doubled each time up to 30 s; each pause is drawn from the upper half of that
    between heartbeats  one period; only the first pause is drawn from the whole period, so that nodes which were
                        started together spread over it. After a failure: as between retries

SNS accepts 100 subscriptions a second. 1000 nodes that start together are subscribed within 30 s; without random
pauses it would take two minutes (`tests/test_backoff.py` calculates both).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

LONGEST = 30.0  # seconds between retries

Draw = Callable[[], float]  # returns a random number from 0 up to 1


def backoff(draw: Draw = random.random) -> Iterator[float]:
    """Yield the seconds to wait after each failed attempt."""
    pause = 1.0
    while True:
        yield pause * (1 + draw()) / 2
        pause = min(2 * pause, LONGEST)


class Rhythm:
    """The pauses of a task that runs every `period` seconds and is retried after a failure."""

    def __init__(self, period: float, draw: Draw = random.random) -> None:
        self._period = period
        self._draw = draw
        self._next = period * draw()
        self._retries = backoff(draw)

    def after(self, success: bool) -> float:
        """Return the seconds to wait after the task has succeeded or failed."""
        if not success:
            return min(next(self._retries), self._period)
        self._retries = backoff(self._draw)
        wait, self._next = self._next, self._period
        return wait
