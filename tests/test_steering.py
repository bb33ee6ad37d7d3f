"""Runs that outlive their caller, over a scripted fleet: deaths, takeovers and orders at any moment."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.scripted_calls import SILENT, TIMEOUT
from support.scripted_fleet import Part, Scripted, Sent

from collective.errors import RunRefused
from collective.fleet.fleet import Fleet
from collective.fleet.gates import NO_GATES, Gates, GateView
from collective.fleet.pace import Pace
from collective.fleet.runs import saved_run
from collective.fleet.runs.saved_call import SavedCall
from collective.fleet.runs.saved_run import SavedRun
from collective.fleet.steering.continuation import Continuation, SteeringTimes
from collective.fleet.steering.run_log import LEASE
from collective.fleet.steering.statements import PAUSE, RESUME, STOP
from collective.fleet.steering.steered_record import SteeredRecord
from collective.fleet.steering.takeover import Steerer, begin, order, take
from collective.fleet.targets import Targets
from collective.testing.run_store import MemoryRunStore
from collective.transport import Delivery

POLL = 1.0
PATIENCE = 300  # steps after which a paused run is resumed
EXAMPLES = int(os.environ.get("STEERING_EXAMPLES", "300"))  # `make steering` tries thousands


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


def fleet_of(count: int, **odd: Part) -> dict[str, Part]:
    """Return the script of some nodes, which reply after a second unless they are in `odd`."""
    return {f"n{number}": Part() for number in range(count)} | odd


def reached(world: SteeredWorld) -> list[str]:
    """Return the nodes in the order in which they were reached."""
    return [sent.node for sent in world.network.sent]


# -- one thing after the other


def test_a_run_is_recorded_as_it_happens(tmp_path: Path) -> None:
    """The record has the call, its caller, each wave, each gate, each outcome and the end."""
    gate = ListedGate()
    world = SteeredWorld(tmp_path, fleet_of(3, n2=SILENT), Pace(waves="1,rest"), gate)
    world.start()
    events = [event["event"] for event in world.store.events[world.run.begin["run"]]]
    assert events == [
        "begin", "request", "plan", "taken", "sent", "reply", "gate", "sent", "reply", "silent", "missing", "end"
    ]  # fmt: skip
    call = SavedCall(world.run)
    assert (call.outcomes.ok, call.outcomes.silent, call.outcomes.exit_code()) == (["n0", "n1"], ["n2"], 3)
    assert world.store.runs()[0].state == "complete"


def test_another_caller_finishes_the_rest(tmp_path: Path) -> None:
    """The nodes of the caller that died are not asked again: one is settled, and the others follow in their waves."""
    world = SteeredWorld(tmp_path, fleet_of(6), Pace(waves="1,2,rest"))
    world.network.watch = lambda sent: world.die() if sent.node == "n2" else None
    assert world.attempt(world.start)
    world.network.watch = lambda _: None
    assert world.store.runs()[0].state == "running"
    with pytest.raises(RunRefused, match="goes on with run"):
        world.go_on()
    world.network.time += LEASE + 1
    assert world.store.runs()[0].state == "unfinished"
    world.go_on()
    assert reached(world) == ["n0", "n1", "n3", "n4", "n5"]
    call = SavedCall(world.run)
    assert (sorted(call.outcomes.ok), call.outcomes.silent) == (["n0", "n1", "n3", "n4", "n5"], ["n2"])
    assert [event["event"] for event in world.run.steering if event["event"] == "taken"] == ["taken"] * 2


def test_a_node_that_works_is_waited_for(tmp_path: Path) -> None:
    """The caller that takes the run asks a node until its action has ended, and only then begins the next wave."""
    world = SteeredWorld(tmp_path, fleet_of(3, n1=Part(after=8.0)), Pace(waves="1"))
    died = iter([True])

    def watch(sent: Sent) -> None:
        if sent.node == "n1" and next(died, False):
            world.at[world.steps + 1] = world.die

    world.network.watch = watch
    assert world.attempt(world.start)
    world.store.end_lease()
    world.go_on()
    ended = {sent.node: sent.ends for sent in world.network.sent}
    begun = {sent.node: sent.at for sent in world.network.sent}
    assert begun["n2"] >= ended["n1"]
    assert SavedCall(world.run).outcomes.counts()["ok"] == 3


@pytest.mark.parametrize("what", [PAUSE, STOP])
def test_an_order_holds_before_the_next_wave(tmp_path: Path, what: str) -> None:
    """After the order no node is reached, the one that works is waited for; a paused run goes on when it is resumed."""
    world = SteeredWorld(tmp_path, fleet_of(3), Pace(waves="1"))
    orders = iter([True])

    def watch(sent: Sent) -> None:
        if sent.node == "n1" and next(orders, False):
            world.order(what)
            if what == PAUSE:
                world.at[world.steps + 40] = lambda: world.order(RESUME)

    world.network.watch = watch
    world.start()
    outcomes = SavedCall(world.run).outcomes
    if what == STOP:
        assert (reached(world), sorted(outcomes.skipped), outcomes.exit_code()) == (["n0", "n1"], ["n2"], 4)
        assert world.run.end["stopped"] == "stopped by 'carol'"
    else:
        times = {sent.node: sent.at for sent in world.network.sent}
        assert (outcomes.counts()["ok"], times["n2"] - times["n1"] > 5) == (3, True)


def test_a_stopped_run_is_only_settled(tmp_path: Path) -> None:
    """A caller that takes a run that was stopped meanwhile reaches no further node, and ends it."""
    world = SteeredWorld(tmp_path, fleet_of(4), Pace(waves="1"))
    world.network.watch = lambda sent: world.die() if sent.node == "n1" else None
    assert world.attempt(world.start)
    world.order(STOP)
    world.network.watch = lambda _: None
    world.finish()
    assert (reached(world), world.run.skipped, world.run.silent) == (["n0"], ["n2", "n3"], ["n1"])


def test_a_caller_that_was_replaced_sends_nothing(tmp_path: Path) -> None:
    """A caller was suspended, and another one has the run: the next append of the first fails, and it stops."""
    world = SteeredWorld(tmp_path, fleet_of(4), Pace(waves="1"))
    replaced = iter([True])

    def watch(sent: Sent) -> None:
        if sent.node == "n1" and next(replaced, False):
            world.replace()

    world.network.watch = watch
    world.start()
    assert sorted(reached(world)) == ["n0", "n1", "n2", "n3"]
    assert len(reached(world)) == 4
    assert SavedCall(world.run).outcomes.counts()["ok"] == 3


# -- any schedule

PARTS = st.builds(
    Part,
    after=st.none() | st.sampled_from([0.0, 0.5, 1.0, 3.0, 8.9]),
    statuscode=st.sampled_from([0, 0, 0, 1, 5]),
    copies=st.integers(1, 2),
    wakes=st.sampled_from([0.0, 0.0, 0.0, 4.0]),
    absent=st.sampled_from([False] * 9 + [True]),
)
PACES = st.builds(
    lambda sizes, **others: Pace(waves=sizes, **others) if sizes else Pace(concurrency=2),
    st.lists(st.integers(1, 4), max_size=3),
    concurrency=st.none() | st.integers(1, 3),
    per=st.sampled_from([(), ("az=1",)]),
    max_fail=st.none() | st.integers(1, 3),
)
DEATHS = st.none() | st.integers(1, 12)  # the number of the request at which a caller dies
HAPPENINGS = st.dictionaries(
    st.integers(1, 60), st.sampled_from(["die", "die", "replace", PAUSE, RESUME, STOP]), max_size=6
)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(PARTS, min_size=1, max_size=9),
    pace=PACES,
    happenings=HAPPENINGS,
    death=DEATHS,
    closed=st.none() | st.lists(st.sampled_from([False, False, True]), max_size=4),
    at_once=st.booleans(),
)
def test_no_schedule_breaks_a_promise(
    tmp_path: Path,
    parts: list[Part],
    pace: Pace,
    happenings: dict[int, str],
    death: int | None,
    closed: list[bool] | None,
    at_once: bool,
) -> None:
    """Whatever callers, nodes and orders do, and whenever: no limit is exceeded, and no node is asked twice.

    No node is reached after an order to stop, and every node ends in one outcome, the right one.
    """
    gate = None if closed is None else ListedGate(list(closed))
    world = SteeredWorld(tmp_path, {f"n{number}": part for number, part in enumerate(parts)}, pace, gate)
    for step, what in happenings.items():
        world.at[step] = {"die": world.die, "replace": world.replace}.get(what, lambda what=what: world.order(what))
    world.at_once = at_once
    checker = Checker(world, gate, death)
    world.network.watch = checker.watch
    world.attempt(world.start)
    if not world.store.events:
        return  # it died before it had a record, and so before it sent anything
    world.at.clear()
    world.order(RESUME)
    world.finish()
    checker.check_end()


class Checker:
    """Checks each request that reaches a node, by the script alone, and the outcomes in the end."""

    def __init__(self, world: SteeredWorld, gate: ListedGate | None, death: int | None) -> None:
        self.world = world
        self.death = death
        self.gate = gate
        self.waves: dict[str, int] = {}

    def watch(self, sent: Sent) -> None:
        """Check a request that is about to reach a node."""
        world, network, pace = self.world, self.world.network, self.world.pace
        earlier = network.sent
        assert sent.node not in {one.node for one in earlier}, "asked twice"
        events = world.store.events[sent.request.run or ""]
        orders = [event for event in events if event["event"] == "order" and event["order"] == STOP]
        recorded = next(event for event in events if event.get("request") == sent.request.id)
        assert not any(events.index(one) < events.index(recorded) for one in orders), "sent after a stop"
        working = {one.node for one in earlier if one.begins <= network.time < one.ends}
        if pace.concurrency:
            assert len(working) < pace.concurrency
        if pace.per:
            zone = world.facts[sent.node]["az"]
            assert all(world.facts[node]["az"] != zone for node in working), "more than one of a group"
        self._check_wave(sent, earlier)
        self._check_budget()
        if self.death == len(earlier) + 1:
            self.death = None
            world.die()

    def _check_wave(self, sent: Sent, earlier: Sequence[Sent]) -> None:
        """Check that all nodes of earlier waves have ended, and that a gate was open before each wave."""
        pace = self.world.pace
        if not pace.sizes:
            return
        waves = self._waves()
        wave = waves[sent.node]
        for one in earlier:
            if waves[one.node] < wave:
                assert one.ends <= self.world.network.time, "the wave before is at work"
        if self.gate:
            assert self.gate.opened >= wave, "no gate was open"

    def _waves(self) -> dict[str, int]:
        if not self.waves:
            nodes, sizes, begin, number = sorted(self.world.network.parts), self.world.pace.sizes, 0, 0
            while begin < len(nodes):
                size = sizes[min(number, len(sizes) - 1)].ceil(len(nodes))
                self.waves.update(dict.fromkeys(nodes[begin : begin + size], number))
                begin, number = begin + size, number + 1
        return self.waves

    def _check_budget(self) -> None:
        """Check that fewer nodes have failed than stop the rollout, by the replies that were received."""
        if self.world.pace.max_fail:
            failed = {reply.sender for reply in self.world.network.received if not reply.ok}
            assert len(failed) < self.world.pace.max_fail.floor(len(self.world.network.parts))

    def check_end(self) -> None:
        """Check that every node has one outcome, the right one."""
        network, call = self.world.network, SavedCall(self.world.run)
        outcomes = call.outcomes
        named = [*outcomes.ok, *outcomes.failed, *outcomes.silent, *outcomes.skipped]
        assert sorted(named) == sorted(network.parts)
        asked = {sent.node for sent in network.sent}
        assert outcomes.skipped.isdisjoint(asked)
        for node in outcomes.ok:
            assert network.parts[node].statuscode == 0
            assert node in asked
        for node in outcomes.failed:
            assert network.parts[node].statuscode or network.parts[node].wakes
        assert asked <= {*outcomes.ok, *outcomes.failed, *outcomes.silent}
