"""Count the nodes of each caller's calls within the last hour, for policies that limit them.

Each node counts the calls that have reached it, in memory: the count starts again with the daemon. The requests of one
run count once, with the largest number of nodes that they name.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

HOUR = 3600.0  # seconds
CALLERS = 1000  # callers whose calls are counted; the one that called longest ago is forgotten
RUNS = 1000  # calls of one caller that are counted


class CallerHours:
    """The calls of each caller that were allowed; safe for any number of threads. Times are in Unix seconds."""

    def __init__(self) -> None:
        self._callers: OrderedDict[str, OrderedDict[str, tuple[float, int]]] = OrderedDict()
        self._lock = threading.Lock()

    def targets(self, caller: str, run: str, now: float) -> int:
        """Return the number of nodes of the caller's other calls within the last hour."""
        with self._lock:
            runs = self._callers.get(caller)
            return sum(count for name, (at, count) in (runs or {}).items() if name != run and now - at < HOUR)

    def add(self, caller: str, run: str, targets: int, now: float) -> None:
        """Record an allowed request of a run, whose call is for `targets` nodes."""
        with self._lock:
            runs: OrderedDict[str, tuple[float, int]] = self._callers.setdefault(caller, OrderedDict())
            self._callers.move_to_end(caller)
            at, before = runs.get(run, (now, 0))
            runs[run] = (at, max(before, targets))
            if len(runs) > RUNS:
                runs.popitem(last=False)
            if len(self._callers) > CALLERS:
                self._callers.popitem(last=False)
