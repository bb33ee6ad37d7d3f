"""A registry in memory with a watcher on it, a clock that tests set, and confirmations with fixed answers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from collective.membership import Event, MemberView, StateFile, Watcher
from collective.membership.confirmation import Suspect, Verdict
from collective.registry import NodeRecord
from collective.registry.feed import FullReads
from collective.registry.memory import MemoryRegistry

PERIOD = 10.0  # seconds between heartbeats


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.time = 1_000.0

    def __call__(self) -> float:
        """Return the time in Unix seconds."""
        return self.time


class FixedVerdicts:
    """A confirmation with fixed answers: `dead` nodes have failed, those in `unknown` have no verdict."""

    def __init__(self) -> None:
        self.dead: set[str] = set()
        self.unknown: set[str] = set()
        self.asked: list[str] = []
        self._found: list[Verdict] = []

    def begin(self, suspects: Iterable[Suspect]) -> None:
        """Decide about suspects."""
        suspects = list(suspects)
        self.asked = [one.identity for one in suspects]
        known = [one for one in suspects if one.identity not in self.unknown]
        self._found = [Verdict(one, one.identity in self.dead, "its queue is not read") for one in known]

    def results(self) -> list[Verdict]:
        """Return the verdicts since the last call."""
        found, self._found = self._found, []
        return found

    def join(self) -> None:
        """Return at once."""


class WatchedRegistry:
    """A registry in memory, and a watcher on it that tests can restart."""

    def __init__(self, path: Path | None = None, view: MemberView | None = None, settle: float = 0.0) -> None:
        self.clock = Clock()
        self.registry = MemoryRegistry(self.clock)
        self.answers = FixedVerdicts()
        self.path, self.view, self.settle = path, view or MemberView(), settle
        self.start()

    def start(self) -> None:
        """Start a watcher with the state file."""
        self.store = StateFile(self.path, "test")
        self.watcher = Watcher(
            FullReads(self.registry), self.store, self.view, self.answers, collective="test", settle=self.settle
        )

    def restart(self) -> None:
        """Stop the watcher, and start another one."""
        self.close()
        self.start()

    def close(self) -> None:
        """Close the state file."""
        self.store.close()

    def put(self, identity: str, instance: str = "1", **members: object) -> None:
        """Publish the record of a node."""
        self.registry.put(NodeRecord(identity, "1.0", instance=instance, period=PERIOD, **members))  # type: ignore[arg-type]

    def step(self, seconds: float = 0.0) -> list[str]:
        """Return the events of one step as `kind identity`, and deliver them."""
        self.clock.time += seconds
        events = self.watcher.step()
        self.store.delivered(events)
        return [f"{event.kind} {event.member.identity}" for event in events]

    def events(self, seconds: float = 0.0) -> list[Event]:
        """Return the events of one step, which stay pending."""
        self.clock.time += seconds
        return self.watcher.step()
