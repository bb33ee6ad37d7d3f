"""Limit how many nodes are reached per time: `30/m` is one node every two seconds.

Starts are spread evenly. Above one node per second several nodes start at once, so that each does not need a wave of
its own: `100/s` reaches up to 100 nodes, and the next ones a second later.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass

from collective.errors import UsageError

_RATE = re.compile(r"([0-9]{1,6})/(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Rate:
    """At most `number` nodes in each `unit` (s, m, h or d)."""

    number: int
    unit: str

    def __str__(self) -> str:
        """Return the rate as it is written: `30/m`."""
        return f"{self.number}/{self.unit}"

    @property
    def seconds(self) -> int:
        """The length of the unit in seconds."""
        return _SECONDS[self.unit]

    @property
    def burst(self) -> int:
        """How many nodes may start at once: those of one second, as far as they divide the number."""
        most = max(1, self.number // self.seconds)
        return next(count for count in range(most, 0, -1) if self.number % count == 0)


def read_rate(option: str, value: Rate | str) -> Rate:
    """Read `N/s`, `N/m`, `N/h` or `N/d`; raise UsageError, naming `option`, for an invalid value."""
    if isinstance(value, Rate):
        return value
    found = _RATE.fullmatch(str(value))
    if not found or int(found[1]) < 1:
        raise UsageError(f"{option} '{value}': must be a number of nodes per second, minute, hour or day, such as 30/m")
    return Rate(int(found[1]), found[2])


class RateLimit:
    """The times of the last starts; without a rate there is no limit. Times are in seconds, by any clock."""

    def __init__(self, rate: Rate | None) -> None:
        self._window = rate.burst * rate.seconds / rate.number if rate else 0.0
        self._burst = rate.burst if rate else 0
        self._starts: deque[float] = deque(maxlen=self._burst)

    def room(self, now: float) -> int | None:
        """Return how many nodes may start now; None without a limit."""
        if not self._burst:
            return None
        return self._burst - sum(now < start + self._window for start in self._starts)

    def started(self, count: int, now: float) -> None:
        """Record that nodes were started."""
        self._starts.extend([now] * min(count, self._burst))

    def next(self) -> float:
        """Return when there is room again."""
        return self._starts[0] + self._window if self._starts else float("-inf")
