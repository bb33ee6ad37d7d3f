"""The record of a run as callers use it: a list of events with one way to write, and a lease.

    log.append(events)   only if this caller has read all events before; else it returns the new ones
    store.take(run, …)   only if no other caller has a lease that has not ended

It is implemented on files (`file_store`) and on DynamoDB (`table_store`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from collective.run_lease import LEASE as LEASE
from collective.run_lease import RENEW as RENEW

Event = Mapping[str, Any]

RUNNING, PAUSED, UNFINISHED, COMPLETE = "running", "paused", "unfinished", "complete"


@dataclass(frozen=True)
class Holder:
    """A caller that goes on with a run: `id` is that of its takeover, `process` is its process ID on `host`."""

    id: str
    caller: str
    host: str
    process: int


@dataclass(frozen=True)
class RunProgress:
    """How far a run has come, for lists: the current wave of how many, and the number of nodes by state."""

    paused: bool = False
    wave: int = 0
    waves: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class RunEntry:
    """A run in a list: the first event, and the last one if it has ended. `time` is in Unix seconds.

    `holder` is the caller that goes on with it or went on with it last, `seconds` how long its lease lasts: 0 when it
    has ended.
    """

    run: str
    time: float
    begin: Event
    end: Event = field(default_factory=dict)
    holder: Holder | None = None
    seconds: float = 0.0
    progress: RunProgress = RunProgress()

    @property
    def where(self) -> str:
        """The run, for errors."""
        return f"run {self.run[:8]}"

    def is_running(self) -> bool:
        """Return whether a caller goes on with it."""
        return not self.end and self.seconds > 0

    @property
    def state(self) -> str:
        """How it is: complete, running, paused, or unfinished because its caller has ended."""
        if self.end:
            return COMPLETE
        if not self.is_running():
            return UNFINISHED
        return PAUSED if self.progress.paused else RUNNING


class RunLog(Protocol):
    """The events of one run, as one caller has read them. Every method may raise TransportError or OSError."""

    def news(self) -> list[Event]:
        """Return the events that others have appended since the last call; at first, all."""
        ...

    def append(self, events: Sequence[Event]) -> list[Event]:
        """Append events if this caller has read all others, and return []; else return the new ones only."""
        ...


class RunStore(Protocol):
    """The runs of one collective. Every method may raise TransportError or OSError."""

    def now(self) -> float:
        """Return the time by which leases end, in Unix seconds."""
        ...

    def create(self, events: Sequence[Event], holder: Holder) -> RunLog:
        """Begin a record with these events and a lease for `holder`, and return its log. It is listed when complete."""
        ...

    def runs(self) -> list[RunEntry]:
        """Return all runs, the newest first."""
        ...

    def log(self, run: RunEntry) -> RunLog:
        """Return the events of a run, none of which have been read."""
        ...

    def take(self, run: RunEntry, holder: Holder) -> bool:
        """Give the lease to `holder`; return False, and change nothing, when another caller has it."""
        ...

    def renew(self, run: str, holder: Holder, progress: RunProgress) -> bool:
        """Renew a lease, and store the progress; return False when `holder` does not have it any more."""
        ...

    def release(self, run: str, holder: Holder, end: Event | None) -> None:
        """End a lease; `end` is the last event of a run that is complete."""
        ...
