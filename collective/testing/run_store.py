"""Records of runs in memory, for tests: what every implementation of `RunStore` does, without files or a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from collective.fleet.steering.run_log import LEASE, Event, Holder, RunEntry, RunLog, RunProgress

Step = Callable[[str], None]


class MemoryLog:
    """One caller's view of a list of events."""

    def __init__(self, events: list[Event], step: Step, read: int = 0) -> None:
        self._events = events
        self._step = step
        self._read = read

    def news(self) -> list[Event]:
        """Return the events after those that were read."""
        self._step("news")
        found = self._events[self._read :]
        self._read = len(self._events)
        return found

    def append(self, events: Sequence[Event]) -> list[Event]:
        """Append events, unless there are new ones."""
        self._step("before append")
        if len(self._events) > self._read:
            return self.news()
        self._events.extend(events)
        self._read = len(self._events)
        self._step("after append")
        return []


class MemoryRunStore:
    """The runs of one collective. `now` returns the server's time in Unix seconds.

    `step` is called before and after every change, with what is done; a test may raise an error there.
    """

    def __init__(self, now: Callable[[], float], step: Step = lambda _: None) -> None:
        self.events: dict[str, list[Event]] = {}
        self.step = step
        self.now = now
        self._entries: dict[str, RunEntry] = {}
        self._ends: dict[str, float] = {}

    def create(self, events: Sequence[Event], holder: Holder) -> RunLog:
        """Begin a list of events."""
        begin = events[0]
        run = str(begin["run"])
        self.step("before create")
        self.events[run] = list(events)
        self._entries[run] = RunEntry(run, float(begin["time"]), begin, holder=holder)
        self._ends[run] = self.now() + LEASE
        self.step("after create")
        return MemoryLog(self.events[run], self.step, len(events))

    def end_lease(self) -> None:
        """Let every lease end now."""
        self._ends = dict.fromkeys(self._ends, float("-inf"))

    def runs(self) -> list[RunEntry]:
        """Return all runs, the newest first."""
        now = self.now()
        found = [replace(entry, seconds=max(0.0, self._ends[run] - now)) for run, entry in self._entries.items()]
        return sorted(found, key=lambda entry: -entry.time)

    def log(self, run: RunEntry) -> RunLog:
        """Return the events of a run, for another caller."""
        return MemoryLog(self.events[run.run], self.step)

    def take(self, run: RunEntry, holder: Holder) -> bool:
        """Change the holder if the lease has ended."""
        self.step("before take")
        if self._entries[run.run].end or self._ends[run.run] >= self.now():
            return False
        self._entries[run.run] = replace(self._entries[run.run], holder=holder)
        self._ends[run.run] = self.now() + LEASE
        self.step("after take")
        return True

    def renew(self, run: str, holder: Holder, progress: RunProgress) -> bool:
        """Change the end of the lease if the holder is the same."""
        self.step("before renew")
        if self._entries[run].holder != holder:
            return False
        self._entries[run] = replace(self._entries[run], progress=progress)
        self._ends[run] = self.now() + LEASE
        return True

    def release(self, run: str, holder: Holder, end: Event | None) -> None:
        """End the lease if the holder is the same."""
        self.step("before release")
        if self._entries[run].holder == holder:
            self._ends[run] = self.now() - 1.0
            if end is not None:
                self._entries[run] = replace(self._entries[run], end=end)
