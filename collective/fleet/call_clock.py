"""The time of one call: it is suspended while the iterating program processes a reply."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from collective.messages import Reply


class CallClock:
    """Measures a call in seconds; `began` is when it was made."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._suspended = 0.0  # seconds for which the iterating program processed replies
        self.began = clock()

    def now(self) -> float:
        """Return the time by which timeouts run."""
        return self._clock() - self._suspended

    def elapsed(self) -> float:
        """Return the duration of the call so far, suspended or not."""
        return self._clock() - self.began

    def suspended_for(self, replies: Iterable[Reply]) -> Iterator[Reply]:
        """Yield replies; no timeout runs while the iterating program processes one."""
        for reply in replies:
            since = self._clock()
            yield reply
            self._suspended += self._clock() - since


@dataclass
class BroadcastWindow:
    """When a broadcast ends: after `length` seconds without a reply, or at the `deadline`."""

    length: float
    last_reply: float
    deadline: float

    def left(self, now: float) -> float | None:
        """Return the seconds until the end; None when it is reached."""
        left = min(self.deadline, self.last_reply + self.length) - now
        return left if left > 0 else None
