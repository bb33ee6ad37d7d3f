"""Whether a suspected node has failed: one lost heartbeat proves nothing.

Watcher ── begin(suspects) ──► FailureConfirmation ── results() ──► failed, alive, or nothing if it is not known

BySilence                      long silence decides
InBackground
  ├ fleet/failure_check.py     a caller pings the nodes, and looks into their queues
  └ membership/queue_probe.py  a node, which cannot sign requests, sends a message that each node acknowledges
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from collective.errors import CollectiveError
from collective.log_limiter import LogLimiter

log = logging.getLogger(__name__)

SUSPECT_PERIODS = 1.25  # of heartbeats without one, after which a node is suspected
SILENT_PERIODS = 6.0  # after which silence alone is taken for a failure, where nodes cannot be asked
EXAMINATIONS = 4  # at a time; suspects beyond that wait for the next step


@dataclass(frozen=True)
class Suspect:
    """A node without recent heartbeats. `age` is in seconds, `periods` in periods of its heartbeat."""

    identity: str
    last_seen: float
    age: float
    periods: float


@dataclass(frozen=True)
class Verdict:
    """Whether a suspect has `failed`, or else is alive, and why, in words."""

    suspect: Suspect
    failed: bool
    why: str


class FailureConfirmation(Protocol):
    """Confirms failures, possibly in the background."""

    def begin(self, suspects: Iterable[Suspect]) -> None:
        """Find out whether suspects have failed; those that are being examined already are omitted."""
        ...

    def results(self) -> list[Verdict]:
        """Return the verdicts since the last call. A suspect without a clear result has none."""
        ...

    def join(self) -> None:
        """Wait until the suspects are examined."""
        ...


class Examiner(Protocol):
    """Finds out whether suspects have failed."""

    def examine(self, suspects: Sequence[Suspect]) -> list[Verdict]:
        """Return the verdicts; suspects without a clear result are omitted. Raises CollectiveError."""
        ...


class BySilence:
    """Takes a node for failed that was not heard of for SILENT_PERIODS periods."""

    def __init__(self, periods: float = SILENT_PERIODS) -> None:
        self._periods = periods
        self._found: Mapping[str, Verdict] = {}

    def begin(self, suspects: Iterable[Suspect]) -> None:
        """Keep those that were silent long enough."""
        verdicts = (silent(one, self._periods) for one in suspects)
        self._found = {one.suspect.identity: one for one in verdicts if one}

    def results(self) -> list[Verdict]:
        """Return the verdicts since the last call."""
        found, self._found = self._found, {}
        return list(found.values())

    def join(self) -> None:
        """Return at once: nothing is examined in the background."""


def silent(suspect: Suspect, periods: float = SILENT_PERIODS) -> Verdict | None:
    """Return the verdict on a node that cannot be asked: none before it was silent for some periods."""
    if suspect.periods < periods:
        return None
    return Verdict(suspect, True, f"no heartbeat for {suspect.age:.0f} s")


class InBackground:
    """Lets `examiner` work in threads: one for the suspects of each step, up to `most` at a time.

    `done` is called when there are verdicts, so that they are used without delay.
    """

    def __init__(self, examiner: Examiner, done: Callable[[], None] = lambda: None, most: int = EXAMINATIONS) -> None:
        self._examiner = examiner
        self._done = done
        self._most = most
        self._lock = threading.Lock()
        self._found: list[Verdict] = []
        self._examined: set[str] = set()  # the suspects of all threads
        self._threads: list[threading.Thread] = []
        self._limiter = LogLimiter()

    def begin(self, suspects: Iterable[Suspect]) -> None:
        """Examine suspects, except those that are being examined; if too many threads are at work, later."""
        with self._lock:
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            chosen = [one for one in suspects if one.identity not in self._examined]
            if not chosen or len(self._threads) >= self._most:
                return
            self._examined |= {one.identity for one in chosen}
            thread = threading.Thread(target=self._examine, args=(chosen,), name="failure check", daemon=True)
            self._threads.append(thread)
            thread.start()

    def results(self) -> list[Verdict]:
        """Return the verdicts since the last call."""
        with self._lock:
            found, self._found = self._found, []
        return found

    def join(self) -> None:
        """Wait until the suspects are examined."""
        for thread in list(self._threads):
            thread.join()

    def _examine(self, suspects: Sequence[Suspect]) -> None:
        verdicts: list[Verdict] = []
        try:
            verdicts = self._examiner.examine(suspects)
        except CollectiveError as error:
            if self._limiter.allows():
                log.warning("membership.unconfirmed", extra={"error": f"suspected nodes cannot be asked: {error}"})
        finally:
            with self._lock:
                self._found += verdicts
                self._examined -= {one.identity for one in suspects}
        if verdicts:
            self._done()
