"""Count the nodes of each caller's calls within the last hour, for policies that limit them.

Each node counts the calls that have reached it. The requests of one run count once, with the largest number of nodes
that they name, as long as they ask for the same. While the policy limits an hour, the calls are on disk as well, so
that the count survives a restart of the daemon.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from collective.node.storage.call_history import CallHistory, CountedCall

HOUR = 3600.0  # seconds
CALLERS = 1000  # callers whose calls are counted; the one that called longest ago is forgotten
RUNS = 1000  # calls of one caller that are counted one by one; older ones are counted together by the minute
_MINUTE = 60.0  # seconds
_BY_MINUTE = "minute "  # begins the name of calls that are counted together; the ID of a run has no space


@dataclass
class _Calls:
    """The calls of one caller: time and number of nodes by run, and the nodes of older calls by minute."""

    runs: OrderedDict[str, tuple[float, int]] = field(default_factory=OrderedDict)
    older: dict[int, int] = field(default_factory=dict)

    def targets(self, run: str, now: float) -> int:
        """Return the number of nodes of all calls but `run` within the last hour."""
        recent = sum(count for name, (at, count) in self.runs.items() if name != run and now - at < HOUR)
        return recent + sum(count for minute, count in self.older.items() if now - minute * _MINUTE < HOUR)

    def add(self, run: str, targets: int, now: float) -> tuple[str, int] | None:
        """Record a call. What is over RUNS is not forgotten: many small calls must not hide a large one.

        Return the run that is now counted by the minute instead, and the minute; None if there is none.
        """
        at, before = self.runs.get(run, (now, 0))
        self.runs[run] = (at, max(before, targets))
        if len(self.runs) <= RUNS:
            return None
        oldest, (at, count) = self.runs.popitem(last=False)
        self.older = {minute: nodes for minute, nodes in self.older.items() if now - minute * _MINUTE < HOUR}
        minute = int(at // _MINUTE)
        self.older[minute] = self.older.get(minute, 0) + count
        return oldest, minute


class CallerHours:
    """The calls of each caller that were allowed; safe for any number of threads. Times are in Unix seconds."""

    def __init__(self, history: CallHistory) -> None:
        """Read the calls of an earlier daemon from `history`. Raises Failed."""
        self._history = history
        self._callers: OrderedDict[str, _Calls] = OrderedDict()
        self._lock = threading.Lock()
        for call in history.all():
            calls = self._callers.setdefault(call.caller, _Calls())
            if call.run.startswith(_BY_MINUTE):
                calls.older[int(call.time // _MINUTE)] = call.targets
            else:
                calls.runs[call.run] = (call.time, call.targets)

    def targets(self, caller: str, run: str, now: float) -> int:
        """Return the number of nodes of the caller's other calls within the last hour."""
        with self._lock:
            calls = self._callers.get(caller)
            return calls.targets(run, now) if calls else 0

    def add(self, caller: str, run: str, targets: int, now: float, *, keep: bool = False) -> None:
        """Record an allowed request of a run, whose call is for `targets` nodes; with `keep` on disk. Raises Failed."""
        with self._lock:
            calls = self._callers.setdefault(caller, _Calls())
            before = calls.runs.get(run)
            older = calls.add(run, targets, now)
            self._callers.move_to_end(caller)
            if len(self._callers) > CALLERS:
                self._callers.popitem(last=False)
            if keep and (older or calls.runs.get(run) != before):
                self._store(caller, calls, run, older, now)

    def _store(self, caller: str, calls: _Calls, run: str, older: tuple[str, int] | None, now: float) -> None:
        changed, gone = [CountedCall(caller, run, *calls.runs[run])] if run in calls.runs else [], []
        if older:
            oldest, minute = older
            gone.append(CountedCall(caller, oldest, 0.0, 0))
            name = f"{_BY_MINUTE}{minute}"
            changed.append(CountedCall(caller, name, minute * _MINUTE, calls.older[minute]))
        self._history.store(changed, gone, now - HOUR)
