"""How long a node waits, so that a fleet which does one thing at once does not do it in step for ever.

    between tries       twice as long each time, up to half a minute, each drawn from its upper half
    between heartbeats  a period; but the first is drawn from a whole period, so that machines which were started
                        together spread over it. After a failure: as between tries

A thousand nodes that start at once are subscribed within half a minute, at the 100 a second that SNS takes; without
drawing it would take them two (`tests/test_backoff.py` reckons both).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

LONGEST = 30.0  # seconds between tries

Draw = Callable[[], float]  # a number from 0 up to 1


def backoff(draw: Draw = random.random) -> Iterator[float]:
    """Yield the seconds to wait after each try that failed."""
    pause = 1.0
    while True:
        yield pause * (1 + draw()) / 2
        pause = min(2 * pause, LONGEST)


class Rhythm:
    """When to do next what is done every `period` (seconds)."""

    def __init__(self, period: float, draw: Draw = random.random) -> None:
        self._period = period
        self._draw = draw
        self._next = period * draw()
        self._tries = backoff(draw)

    def after(self, success: bool) -> float:
        """Return the seconds to wait once it has been done, or could not be."""
        if not success:
            return min(next(self._tries), self._period)
        self._tries = backoff(self._draw)
        wait, self._next = self._next, self._period
        return wait
