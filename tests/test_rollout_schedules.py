"""Arbitrary schedules of a rollout, checked by an independent record of each node."""

from __future__ import annotations

import sys
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from collective.fleet.amounts import Amount
from collective.fleet.grouping import values
from collective.fleet.pace import Pace
from collective.fleet.rollout import Rollout
from collective.fleet.waves import plan_waves, read_order

TIMEOUT = 10.0


NODES = "abcdefghijkl"


AMOUNTS = st.builds(Amount, st.integers(1, 100), st.just(True)) | st.builds(Amount, st.integers(1, 5))


PACES = st.builds(
    lambda sizes, pause, **others: (
        Pace(waves=sizes, wave_pause=pause if sizes else 0.0, **others)
        if sizes
        else Pace(**{name: value for name, value in others.items() if not name.startswith("wave_")})
    ),
    st.lists(AMOUNTS, max_size=3),
    st.sampled_from([0.0, 3.0]),
    concurrency=st.none() | st.integers(1, 4),
    order_by=st.none() | st.sampled_from(["role", "role=db,web"]),
    per=st.lists(st.sampled_from(["az=1", "az=50%", "role=2"]), max_size=2, unique=True),
    rate=st.none() | st.sampled_from(["1/s", "2/s", "30/m", "150/m"]),
    max_fail=st.none() | AMOUNTS,
    max_silent=st.none() | AMOUNTS,
    wave_max_fail=st.none() | AMOUNTS,
    wave_max_silent=st.none() | AMOUNTS,
    retry=st.sampled_from([0, 0, 1, 2]),
    retry_delay=st.just(2.0),
)


EVENTS = st.lists(
    st.tuples(st.sampled_from(["ok", "failed", "passing", "silent", "gate", "late"]), st.sampled_from(NODES))
    | st.tuples(st.just("later"), st.floats(0, 8))
    | st.tuples(st.just("stop"), st.just("")),
    max_size=50,
)


FLEETS = st.dictionaries(
    st.sampled_from(NODES),
    st.fixed_dictionaries({"az": st.sampled_from("xyz")}, optional={"role": st.sampled_from(["db", "web", "app"])}),
    min_size=1,
)


class WatchedWaves:
    """A rollout driven by events, and an independent record of each node; every send is checked."""

    def __init__(self, facts: dict[str, dict[str, str]], pace: Pace, gated: bool) -> None:
        self.facts, self.pace, self.gated, self.now = facts, pace, gated, 0.0
        self.rollout = Rollout(facts, pace, TIMEOUT, facts, gated=gated)
        self.wave_of = {node: number for number, wave in enumerate(self.rollout.waves) for node in wave.nodes}
        self.sends: list[tuple[float, str]] = []
        self.working: dict[str, float] = {}
        self.retrying: set[str] = set()
        self.ended: dict[str, tuple[str, float]] = {}  # outcome and time
        self.passed = 0
        self.stopped = False

    def attempts(self, node: str) -> int:
        """Return how often a node was sent to."""
        return sum(sent == node for _, sent in self.sends)

    def end(self, node: str, outcome: str, *, again: bool = False) -> None:
        """Record the end of an attempt."""
        self.working.pop(node, None)
        if again and not self.stopped and self.attempts(node) <= self.pace.retry:
            self.retrying.add(node)
            return
        self.retrying.discard(node)
        self.ended[node] = (outcome, self.now)
        if self.over_budget():
            self.halt()

    def halt(self) -> None:
        """Record that nothing may be sent any more."""
        self.stopped = True
        for node in list(self.retrying):
            self.retrying.discard(node)
            self.ended[node] = ("failed", self.now)

    def counted(self, outcome: str, wave: int | None = None) -> int:
        """Return the number of nodes with an outcome, in all or in one wave."""
        nodes = [node for node, (found, _) in self.ended.items() if found == outcome]
        return sum(wave is None or self.wave_of[node] == wave for node in nodes)

    def over_budget(self) -> bool:
        """Return whether any budget is used up."""
        limits, total, wave = self.pace.limits, len(self.facts), self.rollout.wave - 1
        size = len(self.rollout.waves[wave].nodes)
        both = not limits.max_silent
        counts = [
            (self.counted("failed") + both * self.counted("silent"), limits.max_fail, total),
            (self.counted("silent"), limits.max_silent, total),
            (
                self.counted("failed", wave) + (not limits.wave_max_silent and both) * self.counted("silent", wave),
                limits.wave_max_fail,
                size,
            ),
            (self.counted("silent", wave), limits.wave_max_silent, size),
        ]
        return any(limit and count >= limit.floor(whole) for count, limit, whole in counts)

    def send(self) -> None:
        """Send to the nodes that are due, and check every promise."""
        for node, since in list(self.working.items()):
            if self.now >= since + TIMEOUT:
                self.end(node, "silent", again=True)
        self.rollout.expire(self.now)
        for node in self.rollout.due(self.now):
            self.check(node)
            self.retrying.discard(node)
            self.sends.append((self.now, node))
            self.working[node] = self.now
        self.rollout.sent([node for node in self.working if node not in self.rollout.working], self.now)
        assert self.working.keys() == self.rollout.working.keys()
        assert self.retrying == self.rollout.retrying
        self.check_limits()

    def check(self, node: str) -> None:
        """Check that a node may be sent to."""
        assert not self.stopped
        assert node not in self.ended
        assert node not in self.working
        assert self.attempts(node) <= self.pace.retry
        earlier = [other for other, wave in self.wave_of.items() if wave < self.wave_of[node]]
        assert all(other in self.ended for other in earlier)
        if not self.gated:
            return
        assert self.passed >= self.wave_of[node]

    def check_limits(self) -> None:
        """Check concurrency, groups and rate; a node between two attempts keeps its place."""
        busy = self.working.keys() | self.retrying
        assert len(busy) <= (self.pace.concurrency or sys.maxsize)
        for limit in self.pace.per:
            for value in {fact for facts in self.facts.values() for fact in values(facts, limit.fact)}:
                group = {node for node, facts in self.facts.items() if value in values(facts, limit.fact)}
                assert len(busy & group) <= limit.amount.floor(len(group))
        if rate := self.pace.rate:
            for start, _ in self.sends:
                assert sum(start <= at < start + rate.seconds - 1e-6 for at, _ in self.sends) <= rate.number

    def happen(self, event: str, value: Any) -> None:
        """Apply an event."""
        if event == "later":
            self.now += value
        elif event == "stop":
            self.rollout.stop("stopped by the test")
            self.halt()
        elif event == "gate":
            self.passed += self.rollout.at_gate
            self.rollout.pass_gate()
        elif event == "silent":
            if value in self.working:
                self.end(value, "silent", again=True)
            self.rollout.give_up([value], self.now, repeatable=True)
        else:
            self.reply(value, ok=event in ("ok", "late"), again=event == "passing")

    def reply(self, node: str, *, ok: bool, again: bool) -> None:
        """Let a node reply; one that is not at work may reply late."""
        outcome = self.ended.get(node, ("", 0.0))[0]
        if node in self.working or (node in self.retrying and ok):
            self.end(node, "ok" if ok else "failed", again=again)
        elif outcome == "silent" and self.rollout.over is False:
            self.ended[node] = ("ok" if ok else "failed", self.now)
            if self.over_budget():
                self.halt()
        elif outcome == "silent":
            return
        self.rollout.answered(node, ok, now=self.now, repeatable=again)


@settings(max_examples=3000, deadline=None)
@given(facts=FLEETS, pace=PACES, gated=st.booleans(), events=EVENTS)
def test_no_schedule_breaks_a_promise(
    facts: dict[str, dict[str, str]], pace: Pace, gated: bool, events: list[tuple[str, Any]]
) -> None:
    """No limit is overrun, no node is sent to after a stop or before its wave, and each ends in one outcome."""
    watched = WatchedWaves(facts, pace, gated)
    watched.send()
    for event, value in events:
        watched.happen(event, value)
        watched.send()
    for _ in range(20 * len(facts) + 20):
        if watched.rollout.over:
            break
        if watched.rollout.at_gate:
            watched.happen("gate", "")
        watched.now = max(watched.now, watched.rollout.wake())
        watched.send()
    assert watched.rollout.over
    assert bool(watched.rollout.stopped) == watched.stopped
    assert watched.ended.keys() | watched.rollout.waiting == facts.keys()
    assert watched.ended.keys().isdisjoint(watched.rollout.waiting)
    assert watched.stopped or not watched.rollout.waiting


@given(facts=FLEETS, sizes=st.lists(AMOUNTS, min_size=1, max_size=4), order=st.none() | st.just("role=db,app"))
def test_every_node_is_in_one_wave(facts: dict[str, dict[str, str]], sizes: list[Amount], order: str | None) -> None:
    """No wave is empty or larger than its size, and nodes of a later rank are never before those of an earlier one."""
    waves = plan_waves(facts, sizes, read_order("order_by", order) if order else None, facts)
    assert sorted(node for wave in waves for node in wave.nodes) == sorted(facts)
    assert all(wave.nodes for wave in waves)
    assert len({wave.rank for wave in waves}) <= 3
    first = [wave.rank for number, wave in enumerate(waves) if number == 0 or wave.rank != waves[number - 1].rank]
    assert len(first) == len(set(first))
    for rank in first:
        members = [wave for wave in waves if wave.rank == rank]
        total = sum(len(wave.nodes) for wave in members)
        limits = [sizes[min(number, len(sizes) - 1)].ceil(total) for number in range(len(members))]
        assert all(len(wave.nodes) <= limit for wave, limit in zip(members, limits, strict=True))
