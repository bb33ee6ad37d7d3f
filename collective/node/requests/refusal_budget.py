"""Limit how many refusals of one caller are audited, logged and answered: a denied caller must not fill a disk."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)

REFUSALS = 60  # of one caller that are audited, logged and answered in each period
PERIOD = 60.0  # seconds
CALLERS = 1000  # that are counted at the same time; the one that was refused longest ago is forgotten first


@dataclass
class _Count:
    since: float
    refusals: int = 0


class RefusalBudget:
    """Counts refusals by caller; safe for any number of threads. `clock` returns monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: OrderedDict[str, _Count] = OrderedDict()

    def exceeded(self, caller: str) -> int:
        """Count a refusal; return by how many the caller has exceeded its budget of this period, 0 if it has not."""
        now = self._clock()
        with self._lock:
            count = self._counts.pop(caller, None)
            if count is None or now - count.since >= PERIOD:
                count = _Count(now)
            self._counts[caller] = count
            if len(self._counts) > CALLERS:
                self._counts.popitem(last=False)
            count.refusals += 1
            return max(0, count.refusals - REFUSALS)
