"""Go on with a run that was taken: ask what became of the requests of the caller before, then make the call again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from collective.errors import RunRefused
from collective.fleet.gates import Gates
from collective.fleet.outcomes import Outcomes
from collective.fleet.steering import run_plan
from collective.fleet.steering.lease import RunLease
from collective.fleet.steering.settlement import Settlement, asking, sleeping
from collective.fleet.steering.steered_record import SHARED, OpenedRun, RecordLimits, SteeredRecord
from collective.fleet.steering.takeover import ReadRun

if TYPE_CHECKING:
    from collective.fleet.fleet import Fleet
    from collective.fleet.plan import CallPlan


@dataclass(frozen=True)
class SteeringTimes:
    """How a caller waits and tells the time: `poll` is in seconds between two looks for orders."""

    poll: float = 2.0
    now: Callable[[], float] = time.time
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Continuation:
    """A run that this caller has taken; `secrets` are inputs that the record does not have.

    `on_answers` is called with the outcomes of each question about a request of the caller before.
    """

    taken: ReadRun
    lease: RunLease
    secrets: Mapping[str, Any] = field(default_factory=dict)
    times: SteeringTimes = SteeringTimes()
    on_answers: Callable[[Outcomes], None] = lambda _: None

    def plan(self, fleet: Fleet, gates: Gates) -> CallPlan:
        """Settle the run, and return the call that goes on with it. Raises RunRefused, UsageError, TransportError."""
        planned = run_plan.plan_again(fleet, self.taken.plan, self.taken.run, self.secrets, gates)
        settlement = Settlement(
            self.taken.run,
            asking(fleet, self.on_answers),
            sleeping(self._check_lease, self.times.sleep),
            self.times.now,
        )
        for event in settlement.events():
            self._append(event)
        return run_plan.settled(planned, self.taken.run)

    def record(self, limits: RecordLimits = SHARED) -> SteeredRecord:
        """Return the record that the call writes."""
        opened = OpenedRun(self.taken.log, self.lease, self.taken.state)
        return SteeredRecord(
            lambda _call, _pace: opened,
            poll=self.times.poll,
            clock=self.times.clock,
            now=self.times.now,
            limits=limits,
        )

    def _append(self, event: dict[str, Any]) -> None:
        while found := self.taken.log.append([event]):
            self.taken.add(found)
            self._check_lease()
        self.taken.add([event])

    def _check_lease(self) -> None:
        """Raise RunRefused when another caller has the run."""
        self.lease.renew()
        if self.taken.state.holder != self.lease.holder.id:
            self.lease.lose()
        if problem := self.lease.problem:
            raise RunRefused(f"run {self.taken.entry.run[:8]}: {problem}")
