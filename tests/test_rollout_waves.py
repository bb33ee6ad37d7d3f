"""Waves, ranks, groups, rates, budgets, retries and gates of a rollout, step by step and under arbitrary schedules."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collective.errors import UsageError
from collective.fleet.amounts import Amount
from collective.fleet.grouping import values
from collective.fleet.pace import Pace
from collective.fleet.rate import RateLimit, read_rate
from collective.fleet.rollout import Rollout
from collective.fleet.waves import plan_waves, read_order, read_sizes

TIMEOUT = 10.0
ROLES = {"a": "db", "b": "web", "c": "web", "d": "app", "e": "db", "f": "web"}
FACTS: dict[str, dict[str, Any]] = {
    node: {"role": role, "az": f"z{number % 2}"} for number, (node, role) in enumerate(ROLES.items())
}


def planned(nodes: str, sizes: str, order: str | None = None) -> list[tuple[str, str]]:
    """Return the rank and the nodes of each wave."""
    wanted = None if order is None else read_order("order_by", order)
    waves = plan_waves(nodes, read_sizes("waves", sizes), wanted, FACTS)
    return [(wave.rank, "".join(wave.nodes)) for wave in waves]


# -- the plan


def test_waves_have_their_sizes() -> None:
    """Sizes are numbers and percentages of all nodes; `rest` takes all others, and waves without nodes are omitted."""
    assert planned("abcdefghij", "1,2,20%,rest") == [("", "a"), ("", "bc"), ("", "de"), ("", "fghij")]
    assert planned("abc", "1,5,10%,50%,rest") == [("", "a"), ("", "bc")]


def test_the_last_size_is_repeated() -> None:
    """Without `rest` the last size is used until all nodes have been reached."""
    assert planned("abcdef", "1,2") == [("", "a"), ("", "bc"), ("", "de"), ("", "f")]


def test_ranks_follow_the_listed_values() -> None:
    """Each rank has waves of its own, and nodes with another value come last."""
    assert planned("abcdef", "1,rest", "role=db,app") == [
        ("role=db", "a"), ("role=db", "e"), ("role=app", "d"), ("other role", "b"), ("other role", "cf")
    ]  # fmt: skip


def test_ranks_without_a_list_are_sorted_by_value() -> None:
    """Values sort as numbers, then in version order; nodes without the fact come last."""
    facts: dict[str, dict[str, Any]] = {
        "a": {"v": 10},
        "b": {"v": 9},
        "c": {"v": "1.10-x"},
        "d": {"v": "1.9-x"},
        "e": {},
    }
    waves = plan_waves("abcde", (), read_order("order_by", "v"), facts)
    assert [wave.rank for wave in waves] == ["v=9", "v=10", "v=1.9-x", "v=1.10-x", "v=(no value)"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"waves": "1,rest,5"}, "waves '1,rest,5': no wave can follow 'rest'"),
        ({"waves": "1,,5"}, "waves '': must be a number of nodes"),
        ({"waves": "0"}, "waves '0': must be a number of nodes"),
        ({"waves": "1", "batch": 2}, "waves: not allowed with batch"),
        ({"wave_pause": 1.0}, "wave_pause: has no effect without waves"),
        ({"wave_max_fail": 1}, "wave_max_fail: has no effect without waves"),
        ({"wave_max_silent": 1}, "wave_max_silent: has no effect without waves"),
        ({"order_by": "role=db,"}, "order_by 'role=db,': must be a fact"),
        ({"order_by": "role=db,db"}, "order_by 'role=db,db': must be a fact"),
        ({"order_by": "=db"}, "order_by '=db': must be a fact"),
        ({"per": ["az"]}, "per 'az': must be a fact and a number of nodes"),
        ({"per": ["az=0"]}, "per az= '0': must be a number of nodes"),
        ({"rate": "30"}, "rate '30': must be a number of nodes per second"),
        ({"rate": "0/s"}, "rate '0/s': must be a number of nodes per second"),
        ({"rate": "5/w"}, "rate '5/w': must be a number of nodes per second"),
        ({"success_threshold": 5}, "success_threshold '5': must be a percentage"),
        ({"retry": -1}, "retry '-1': must be a number of retries"),
        ({"retry": 1, "retry_delay": float("nan")}, "retry_delay 'nan': must be a number of seconds"),
    ],
)
def test_an_invalid_pace_is_refused(arguments: dict[str, Any], message: str) -> None:
    """The error names the argument and the value."""
    with pytest.raises(UsageError) as caught:
        Pace(**arguments)
    assert str(caught.value).startswith(message)


# -- step by step


def work(rollout: Rollout, now: float, *, ok: bool = True) -> list[str]:
    """Send to the nodes that are due, and let them answer at once."""
    due = rollout.due(now)
    rollout.sent(due, now)
    for node in due:
        rollout.answered(node, ok=ok, now=now)
    return due


def test_a_group_is_never_over_its_limit() -> None:
    """A node whose group is full lets others go first, and starts when one of its group has ended."""
    rollout = Rollout("abcdef", Pace(per=["az=1"]), TIMEOUT, FACTS)
    assert rollout.due(0) == ["a", "b"]
    rollout.sent(["a", "b"], 0)
    rollout.answered("b", ok=True)
    assert rollout.due(1) == ["d"]
    rollout.sent(["d"], 1)
    rollout.answered("a", ok=True)
    assert rollout.due(2) == ["c"]


def test_a_percentage_of_a_group_is_rounded_down_to_at_least_one() -> None:
    """Half of the one node with role=app is one node, and half of the three with role=web is one."""
    rollout = Rollout("abcdef", Pace(per=["role=50%"]), TIMEOUT, FACTS)
    assert rollout.due(0) == ["a", "b", "d"]


def test_nodes_without_the_fact_are_one_group() -> None:
    """What is not known of two nodes may be the same, so they do not work together."""
    assert Rollout("xyz", Pace(per=["az=1"]), TIMEOUT, FACTS).due(0) == ["x"]


def test_a_node_with_a_list_belongs_to_several_groups() -> None:
    """Each element is a group, and so is each key of a mapping."""
    facts: dict[str, dict[str, Any]] = {
        "a": {"pools": ["red", "blue"]},
        "b": {"pools": {"blue": 1}},
        "c": {"pools": True},
    }
    assert values(facts["c"], "pools") == ["true"]
    assert Rollout("abc", Pace(per=["pools=1"]), TIMEOUT, facts).due(0) == ["a", "c"]


def test_a_rate_spreads_the_starts_evenly() -> None:
    """30 nodes a minute are one node every two seconds."""
    rollout = Rollout("abcdef", Pace(rate="30/m"), TIMEOUT)
    assert work(rollout, 0) == ["a"]
    assert (work(rollout, 1), rollout.wake()) == ([], 2)
    assert work(rollout, 2) == ["b"]


@pytest.mark.parametrize(
    ("rate", "burst", "wait"),
    [("1/s", 1, 1.0), ("100/s", 100, 1.0), ("120/m", 2, 1.0), ("90/m", 1, 60 / 90), ("1/d", 1, 86400)],
)
def test_a_rate_has_a_burst_of_one_second(rate: str, burst: int, wait: float) -> None:
    """High rates start several nodes at once, so that not each of them needs a wave."""
    limit = RateLimit(read_rate("rate", rate))
    assert limit.room(0) == burst
    limit.started(burst, 0)
    assert limit.room(0) == 0
    assert limit.next() == pytest.approx(wait)


def test_silent_nodes_have_a_budget_of_their_own() -> None:
    """With max_silent, silent nodes do not count for max_fail, and failed ones not for max_silent."""
    rollout = Rollout("abcdef", Pace(concurrency=6, max_fail=2, max_silent=2), TIMEOUT)
    rollout.sent(rollout.due(0), 0)
    rollout.give_up(["a"])
    rollout.answered("b", ok=False)
    assert rollout.stopped == ""
    rollout.give_up(["c"])
    assert rollout.stopped == "2 nodes silent, max-silent is 2"


def test_a_budget_of_a_wave_starts_again_with_each_wave() -> None:
    """One failure in each wave is allowed, two in one wave are not."""
    rollout = Rollout("abcdef", Pace(waves="2", wave_max_fail=2), TIMEOUT)
    for nodes in ("ab", "cd"):
        rollout.sent(rollout.due(0), 0)
        rollout.answered(nodes[0], ok=False)
        rollout.answered(nodes[1], ok=True)
    assert work(rollout, 0, ok=False) == ["e", "f"]
    assert rollout.stopped == "2 nodes failed or silent in wave 3, wave-max-fail is 2"


def test_a_failure_is_repeated_after_a_delay_that_doubles() -> None:
    """The node keeps its place, and counts as failed when no retry is left."""
    rollout = Rollout("ab", Pace(concurrency=1, max_fail=1, retry=2, retry_delay=4), TIMEOUT)
    rollout.sent(rollout.due(0), 0)
    rollout.answered("a", ok=False, now=1, repeatable=True)
    assert (rollout.due(1), rollout.wake()) == ([], 5)
    rollout.sent(rollout.due(5), 5)
    assert list(rollout.working) == ["a"]
    rollout.expire(5 + TIMEOUT)
    assert (rollout.due(15), rollout.wake()) == ([], 23)
    rollout.sent(rollout.due(23), 23)
    rollout.answered("a", ok=False, now=24, repeatable=True)
    assert rollout.stopped == "1 node failed or silent, max-fail is 1"
    assert list(rollout.waiting) == ["b"]


def test_a_failure_that_cannot_pass_is_not_repeated() -> None:
    """A node that denies the action would deny it again."""
    rollout = Rollout("a", Pace(retry=3), TIMEOUT)
    rollout.sent(rollout.due(0), 0)
    rollout.answered("a", ok=False, now=1)
    assert rollout.over


def test_a_late_reply_saves_the_retry() -> None:
    """A silent node whose reply comes during the delay is not sent to again; a late failure changes nothing."""
    rollout = Rollout("ab", Pace(retry=1), TIMEOUT)
    rollout.sent(rollout.due(0), 0)
    rollout.expire(TIMEOUT)
    rollout.answered("a", ok=True)
    rollout.answered("b", ok=False)
    assert rollout.due(100) == ["b"]


def test_nothing_is_repeated_after_a_stop() -> None:
    """A node that waits for its retry when the rollout stops has failed."""
    rollout = Rollout("ab", Pace(retry=1), TIMEOUT)
    rollout.sent(rollout.due(0), 0)
    rollout.answered("a", ok=False, now=0, repeatable=True)
    rollout.stop("interrupted")
    assert (rollout.due(100), list(rollout.retrying)) == ([], [])
    rollout.answered("b", ok=False, now=0, repeatable=True)
    assert rollout.over


def test_a_gate_is_between_waves_and_after_the_pause() -> None:
    """No wave begins before its gate is passed; a rollout that is stopped there is over."""
    rollout = Rollout("abc", Pace(waves="1", wave_pause=5), TIMEOUT, gated=True)
    assert (work(rollout, 0), rollout.at_gate) == (["a"], False)
    assert (work(rollout, 4), rollout.at_gate, rollout.wake()) == ([], False, 9)
    assert (work(rollout, 9), rollout.at_gate) == ([], True)
    rollout.pass_gate()
    assert (work(rollout, 9), rollout.at_gate, rollout.wave) == (["b"], False, 2)
    assert work(rollout, 20) == work(rollout, 25) == []
    rollout.stop("gate 'ask': refused")
    assert (rollout.over, rollout.at_gate, list(rollout.waiting)) == (True, False, ["c"])
    rollout.pass_gate()
    assert work(rollout, 30) == []


# -- arbitrary schedules

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
