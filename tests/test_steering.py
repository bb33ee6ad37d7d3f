"""Runs that outlive their caller, over a scripted fleet: deaths, takeovers and orders at any moment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.scripted_calls import SILENT
from support.scripted_fleet import Part, Sent
from support.steered import ListedGate, SteeredWorld

from collective.errors import RunRefused
from collective.fleet.pace import Pace
from collective.fleet.runs.saved_call import SavedCall
from collective.fleet.steering.run_log import LEASE
from collective.fleet.steering.statements import PAUSE, RESUME, STOP

EXAMPLES = int(os.environ.get("STEERING_EXAMPLES", "300"))  # `make steering` tries thousands


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
        world.at[step] = {"die": world.die, "replace": world.replace}.get(what, partial(world.order, what))
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
