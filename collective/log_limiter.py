"""Limit how often a problem is logged, so that input from others cannot fill the disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class LogLimiter:
    """Allow one log line per `period` seconds. `clock` returns monotonic seconds. Any number of threads may use it."""

    def __init__(self, period: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._period = period
        self._clock = clock
        self._next = clock()
        self._lock = threading.Lock()

    def allows(self) -> bool:
        """Return whether a line may be logged now. If so, the next one is allowed after the period."""
        with self._lock:
            now = self._clock()
            if now < self._next:
                return False
            self._next = now + self._period
            return True
