"""A rollout with callers that die, orders and gates, over scripted nodes and a simulated clock."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collective.errors import RunRefused
from collective.fleet.fleet import Fleet
from collective.fleet.gates import NO_GATES, Gates, GateView
from collective.fleet.pace import Pace
from collective.fleet.runs import saved_run
from collective.fleet.runs.saved_run import SavedRun
from collective.fleet.steering.continuation import Continuation, SteeringTimes
from collective.fleet.steering.run_log import LEASE
from collective.fleet.steering.statements import RESUME
from collective.fleet.steering.steered_record import SteeredRecord
from collective.fleet.steering.takeover import Steerer, begin, order, take
from collective.fleet.targets import Targets
from collective.testing.run_store import MemoryRunStore
from collective.transport import Delivery
from support.scripted_calls import TIMEOUT
from support.scripted_fleet import Part, Scripted

POLL = 1.0
PATIENCE = 300  # steps after which a paused run is resumed


class CallerDied(BaseException):
    """Ends a caller at once, as SIGKILL does."""


@dataclass
class ListedGate:
    """A gate that is closed at the times in a list."""

    closed: list[bool] = field(default_factory=list)
    opened: int = 0
    name: str = "listed"
    unattended: bool = True

    def check(self, view: GateView) -> str:  # noqa: ARG002 - a protocol
        """Return the next result."""
        closed = self.closed.pop(0) if self.closed else False
        self.opened += not closed
        return "closed" if closed else ""


class Stepped(Scripted):
    """A scripted fleet that tells when a caller begins to wait."""

    step: Callable[[str], None]

    def receive(self, queue: str, wait: float) -> list[Delivery]:
        """Return the replies that arrive."""
        self.step("receive")
        return super().receive(queue, wait)


class SteeredWorld:
    """A scripted fleet, the record of one run, and its callers, one after the other."""

    def __init__(self, folder: Path, parts: dict[str, Part], pace: Pace, gate: ListedGate | None = None) -> None:
        self.network = Stepped(parts)
        self.network.step = self.step
        self.pace = pace
        self.store = MemoryRunStore(self.network.clock, self.step)
        self.steps = 0
        self.at: dict[int, Callable[[], None]] = {}  # what happens at which step
        self.gates = Gates((gate,)) if gate else NO_GATES
        self.folder = folder
        self.callers = itertools.count(1)
        self.facts = {node: {"az": f"z{number % 2}"} for number, node in enumerate(sorted(parts))}
        self.dead = False
        self.at_once = False
        self.refused: list[str] = []

    def step(self, _what: str) -> None:
        """Count a step of any caller, and let happen what is planned for it; a dead caller does nothing."""
        if self.dead:
            raise CallerDied
        self.steps += 1
        if self.steps % PATIENCE == 0:
            self.order(RESUME)
        happens = self.at.pop(self.steps, None)
        if happens:
            happens()

    def fleet(self) -> Fleet:
        """Return the fleet of a new caller, with a state of its own."""
        fleet = self.network.fleet(self.folder / f"caller{next(self.callers)}")
        for record in self.network.registry.read().records:
            self.network.registry.put(_with_facts(record, self.facts[record.identity]))
        return fleet

    def steerer(self) -> Steerer:
        """Return a caller without a key, by the script's clock."""
        return Steerer("carol", now=self.network.clock, clock=self.network.clock)

    def times(self) -> SteeringTimes:
        """Return the times of the script."""
        return SteeringTimes(POLL, self.network.clock, self.network.clock, self.sleep)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.network.time += seconds

    def start(self) -> None:
        """Make the call, until its end or the caller's."""
        fleet = self.fleet()
        plan = fleet.plan(
            "shell", "run", {"command": "true"}, targets=Targets(nodes=self.network.parts), pace=self.pace,
            timeout=TIMEOUT,
        )  # fmt: skip
        plan = _with_gates(plan, self.gates)
        times = self.times()
        opened = begin(self.store, self.steerer(), plan)
        record = SteeredRecord(opened, poll=POLL, clock=times.clock, now=times.now)
        fleet.start(plan, confirm=lambda _: True, record=record).wait()

    def go_on(self) -> None:
        """Take the run, and go on until its end or the caller's."""
        entry = self.store.runs()[0]
        taken, lease = take(self.store, entry, self.steerer())
        continuation = Continuation(taken, lease, times=self.times())
        fleet = self.fleet()
        plan = continuation.plan(fleet, self.gates)
        fleet.start(plan, confirm=lambda _: True, record=continuation.record()).wait()

    def order(self, what: str) -> None:
        """Order the caller of the run to pause, resume or stop; nothing else happens meanwhile."""
        if self.store.events:
            planned, self.at = self.at, {}
            with suppress(RunRefused):
                order(self.store, self.store.runs()[0], self.steerer(), what)
            self.at = planned

    def replace(self) -> None:
        """Suspend the caller until its lease is over, and let another one take the run and go on to the end."""
        if self.store.events:
            self.end_lease()
            self.attempt(self.go_on)

    def end_lease(self) -> None:
        """End every lease: at once, as that of a file does when its process dies, or when its time is over."""
        if self.at_once:
            self.store.end_lease()
        else:
            self.network.time += LEASE + 1

    def die(self) -> None:
        """End the caller at once: it writes nothing any more, not even while its frames are unwound."""
        self.dead = True
        raise CallerDied

    def finish(self) -> None:
        """Let callers take the run until one of them ends it."""
        for _ in range(10):
            if self.store.runs() and self.store.runs()[0].end:
                return
            self.end_lease()
            self.attempt(self.go_on)
        raise AssertionError(f"no caller ends the run: {self.refused[-1]}")

    def attempt(self, work: Callable[[], None]) -> bool:
        """Let a caller work; return whether it died or was refused."""
        try:
            work()
        except (CallerDied, RunRefused) as error:
            self.refused.append(repr(error))
            return True
        finally:
            self.dead = False
        return False

    @property
    def run(self) -> SavedRun:
        """The run as its record has it."""
        entry = self.store.runs()[0]
        return saved_run.of_events(entry, self.store.events[entry.run])


def _with_facts(record: Any, facts: dict[str, Any]) -> Any:
    from dataclasses import replace

    return replace(record, facts=facts)


def _with_gates(plan: Any, gates: Gates) -> Any:
    from dataclasses import replace

    return replace(plan, gates=gates)
