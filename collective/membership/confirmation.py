"""Whether a suspected node has failed: one lost heartbeat proves nothing.

    Watcher ── begin(suspects) ──► FailureConfirmation ── results() ──► failed, alive, or nothing if it is not known

A caller asks the nodes themselves (`fleet/failure_check.py`). Where that is impossible, long silence decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

SUSPECT_PERIODS = 1.5  # of heartbeats without one, after which a node is suspected
SILENT_PERIODS = 6.0  # after which silence alone is taken for a failure, where nodes cannot be asked


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


class BySilence:
    """Takes a node for failed that was not heard of for SILENT_PERIODS periods."""

    def __init__(self, periods: float = SILENT_PERIODS) -> None:
        self._periods = periods
        self._found: Mapping[str, Verdict] = {}

    def begin(self, suspects: Iterable[Suspect]) -> None:
        """Keep those that were silent long enough."""
        self._found = {
            one.identity: Verdict(one, True, f"no heartbeat for {one.age:.0f} s")
            for one in suspects
            if one.periods >= self._periods
        }

    def results(self) -> list[Verdict]:
        """Return the verdicts since the last call."""
        found, self._found = self._found, {}
        return list(found.values())

    def join(self) -> None:
        """Return at once: nothing is examined in the background."""
