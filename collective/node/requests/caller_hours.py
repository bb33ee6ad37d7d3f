"""Count the nodes of each caller's calls within the last hour, for policies that limit them.

Each node counts the calls that have reached it, in memory: the count starts again with the daemon. The requests of one
run count once, with the largest number of nodes that they name, as long as they ask for the same.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

HOUR = 3600.0  # seconds
CALLERS = 1000  # callers whose calls are counted; the one that called longest ago is forgotten
RUNS = 1000  # calls of one caller that are counted one by one; older ones are counted together by the minute
_MINUTE = 60.0  # seconds


@dataclass
class _Calls:
    """The calls of one caller: time and number of nodes by run, and the nodes of older calls by minute."""

    runs: OrderedDict[str, tuple[float, int]] = field(default_factory=OrderedDict)
    older: dict[int, int] = field(default_factory=dict)

    def targets(self, run: str, now: float) -> int:
        """Return the number of nodes of all calls but `run` within the last hour."""
        recent = sum(count for name, (at, count) in self.runs.items() if name != run and now - at < HOUR)
        return recent + sum(count for minute, count in self.older.items() if now - minute * _MINUTE < HOUR)

    def add(self, run: str, targets: int, now: float) -> None:
        """Record a call. What is over RUNS is not forgotten: many small calls must not hide a large one."""
        at, before = self.runs.get(run, (now, 0))
        self.runs[run] = (at, max(before, targets))
        if len(self.runs) > RUNS:
            at, count = self.runs.popitem(last=False)[1]
            self.older = {minute: nodes for minute, nodes in self.older.items() if now - minute * _MINUTE < HOUR}
            minute = int(at // _MINUTE)
            self.older[minute] = self.older.get(minute, 0) + count


class CallerHours:
    """The calls of each caller that were allowed; safe for any number of threads. Times are in Unix seconds."""

    def __init__(self) -> None:
        self._callers: OrderedDict[str, _Calls] = OrderedDict()
        self._lock = threading.Lock()

    def targets(self, caller: str, run: str, now: float) -> int:
        """Return the number of nodes of the caller's other calls within the last hour."""
        with self._lock:
            calls = self._callers.get(caller)
            return calls.targets(run, now) if calls else 0

    def add(self, caller: str, run: str, targets: int, now: float) -> None:
        """Record an allowed request of a run, whose call is for `targets` nodes."""
        with self._lock:
            self._callers.setdefault(caller, _Calls()).add(run, targets, now)
            self._callers.move_to_end(caller)
            if len(self._callers) > CALLERS:
                self._callers.popitem(last=False)
