"""Amounts, random samples and paces, and the state machine of a rollout under every schedule of replies."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collective import Targets
from collective.errors import UsageError
from collective.fleet.amounts import Amount, read_amount, read_count
from collective.fleet.pace import Pace
from collective.fleet.rollout import Rollout

CASES = Path(__file__).parent / "cases" / "rollout"
FILES = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in CASES.glob("*.json")}
TIMEOUT = 10.0


def cases(group: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in FILES[group]["cases"]])


# -- cases of MCollective and Choria


@cases("limit_targets")
def test_a_limit_selects_as_many_nodes_as_the_case(case: dict[str, Any]) -> None:
    """A percentage is rounded down, to at least one node, and the nodes are selected at random."""
    given = case["input"]
    chosen = Targets(limit=given["limit"], limit_seed=given.get("seed")).sample(given["discovered"])
    assert len(chosen) == len(case["expected"])
    assert set(chosen) <= set(given["discovered"])


@cases("limit_parse")
def test_a_limit_is_read_as_in_the_case(case: dict[str, Any]) -> None:
    """Integers, strings of integers and percentages are limits; other values are refused."""
    limit, expected = case["input"]["limit"], case["expected"]
    if limit is None:
        assert Pace(max_fail=limit).max_fail is expected
    elif isinstance(expected, dict):
        with pytest.raises(UsageError, match=f"--limit '{limit}'"):
            read_amount("--limit", limit)
    else:
        assert read_amount("--limit", limit) == Amount(expected)


@cases("batch_size")
def test_a_batch_has_the_size_of_the_case(case: dict[str, Any]) -> None:
    """The percentage of a batch is rounded up."""
    size, expected = case["input"]["batch_size"], case["expected"]
    if "error_matches" in expected:
        with pytest.raises(UsageError, match=f"batch '{size}'"):
            Pace(batch=size)
    else:
        nodes = [f"web{number}" for number in range(case["input"]["discovered"])]
        assert len(Rollout(nodes, Pace(batch=size), TIMEOUT).due(0)) == expected["effective"]


# -- amounts

AMOUNTS_REFUSED = ["0", "0%", "1.1", "-1", "-5%", "101%", "", "%", "5 %", " 5", "five", "٣", "1e3", "+3", "9" * 10]


@pytest.mark.parametrize("text", [*AMOUNTS_REFUSED, 0, -1, True, math.nan, math.inf, 0.5])
def test_an_invalid_amount_is_refused(text: str | float) -> None:
    """The error names the option and the value."""
    with pytest.raises(UsageError) as caught:
        read_amount("--batch", text)
    assert str(caught.value).startswith(f"--batch '{text}': must be a number of nodes")


@pytest.mark.parametrize("text", ["0", "5%", "1.0", "-1", "two", "", 0, True])
def test_an_invalid_count_is_refused(text: str | int) -> None:
    """Concurrency is a number of nodes, and cannot be a percentage."""
    with pytest.raises(UsageError, match="concurrency '"):
        read_count("concurrency", text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_sleep": 1.0}, "batch_sleep: has no effect without batch"),
        ({"batch": 2, "batch_sleep": -1.0}, "batch_sleep '-1.0': must be a number of seconds"),
        ({"batch": 2, "batch_sleep": math.inf}, "batch_sleep 'inf'"),
        ({"max_fail": "0%"}, "max_fail '0%'"),
    ],
)
def test_an_invalid_pace_is_refused(arguments: dict[str, Any], message: str) -> None:
    """The error names the argument."""
    with pytest.raises(UsageError, match=message):
        Pace(**arguments)


@given(nodes=st.sets(st.text("abc123", min_size=1), min_size=1), percent=st.integers(1, 100), seed=st.integers())
def test_a_seed_selects_the_same_nodes(nodes: set[str], percent: int, seed: int) -> None:
    """The order of the nodes does not matter, and a larger limit adds nodes to those of a smaller one."""
    limit = Amount(percent, percent=True)
    chosen = Targets(limit=limit, limit_seed=seed).sample(sorted(nodes))
    assert chosen == Targets(limit=limit, limit_seed=seed).sample(sorted(nodes, reverse=True))
    assert set(chosen) <= set(Targets(limit="100%", limit_seed=seed).sample(nodes)) == nodes
    assert set(Targets(limit=1, limit_seed=seed).sample(nodes)) <= set(chosen)


def test_without_a_seed_every_node_can_be_selected() -> None:
    """A hundred samples of one node in four contain every node."""
    assert {Targets(limit=1).sample("abcd")[0] for _ in range(100)} == set("abcd")


# -- the state machine, step by step


def test_without_a_pace_all_nodes_are_sent_to_at_once() -> None:
    """Without a pace all nodes are due at once, and time out together."""
    rollout = Rollout(["b", "a"], Pace(), TIMEOUT)
    assert rollout.due(0) == ["a", "b"]
    rollout.sent(["a", "b"], 1)
    assert (rollout.due(1), rollout.wake(), rollout.over) == ([], 1 + TIMEOUT, False)
    rollout.expire(1 + TIMEOUT)
    assert rollout.over


def test_a_node_that_answers_or_times_out_makes_room() -> None:
    """With a concurrency of two, a reply makes room at once, and a silent node when it times out."""
    rollout = Rollout("abcd", Pace(concurrency=2), TIMEOUT)
    rollout.sent(rollout.due(0), 0)
    assert list(rollout.working) == ["a", "b"]
    assert rollout.due(1) == []
    rollout.answered("b", ok=False)
    assert rollout.due(1) == ["c"]
    rollout.sent(["c"], 1)
    rollout.expire(TIMEOUT)
    assert (rollout.due(TIMEOUT), rollout.wake()) == (["d"], 1 + TIMEOUT)


def test_a_batch_waits_for_the_batch_before_and_the_pause() -> None:
    """The pause starts with the last reply of a batch, and there is no pause after the last batch."""
    rollout = Rollout("abc", Pace(batch=Amount(2), batch_sleep=5), TIMEOUT)
    rollout.sent(rollout.due(0), 0)
    rollout.answered("a", ok=True)
    assert rollout.due(1) == []
    rollout.answered("b", ok=True)
    assert (rollout.due(2), rollout.wake()) == ([], 7)
    assert rollout.due(7) == ["c"]
    rollout.sent(["c"], 7)
    rollout.answered("c", ok=True)
    assert rollout.over


def test_concurrency_also_limits_a_batch() -> None:
    """Batch size and concurrency both apply."""
    rollout = Rollout("abcdef", Pace(batch=Amount(50, percent=True), concurrency=2), TIMEOUT)
    rollout.sent(rollout.due(0), 0)
    rollout.answered("a", ok=True)
    assert rollout.due(0) == ["c"]
    rollout.sent(["c"], 0)
    rollout.answered("b", ok=True)
    assert rollout.due(0) == []
    rollout.answered("c", ok=True)
    assert rollout.due(0) == ["d", "e"]


def test_too_many_failures_stop_a_rollout() -> None:
    """The second failure, here a silent node, stops the rollout, and the working nodes are still waited for."""
    rollout = Rollout("abcd", Pace(concurrency=2, max_fail=Amount(2)), TIMEOUT)
    rollout.sent(rollout.due(0), 0)
    rollout.answered("a", ok=False)
    rollout.sent(rollout.due(1), 1)
    rollout.give_up(["b"])
    assert (rollout.due(2), list(rollout.waiting), rollout.over) == ([], ["d"], False)
    assert rollout.stopped == "2 nodes failed or silent, max-fail is 2"
    rollout.answered("c", ok=True)
    assert rollout.over


def test_max_fail_alone_limits_concurrency() -> None:
    """With max_fail alone, no more nodes work at the same time than may still fail."""
    rollout = Rollout("abcdefghij", Pace(max_fail=Amount(30, percent=True)), TIMEOUT)
    rollout.sent(rollout.due(0), 0)
    assert len(rollout.working) == 3
    rollout.answered("a", ok=False)
    assert rollout.due(0) == []
    rollout.answered("b", ok=True)
    assert rollout.due(0) == ["d"]


def test_a_late_reply_replaces_silence() -> None:
    """A node that replies late is no longer counted as silent, but a stopped rollout stays stopped."""
    rollout = Rollout("abc", Pace(concurrency=1, max_fail=Amount(2)), TIMEOUT)
    rollout.sent(rollout.due(0), 0)
    rollout.expire(TIMEOUT)
    rollout.answered("a", ok=True)
    rollout.answered("a", ok=False)
    rollout.sent(rollout.due(TIMEOUT), TIMEOUT)
    rollout.answered("b", ok=False)
    assert (rollout.stopped, rollout.due(TIMEOUT)) == ("", ["c"])


# -- arbitrary schedules

AMOUNTS = st.builds(Amount, st.integers(1, 100), st.just(True)) | st.builds(Amount, st.integers(1, 5))
BATCHES = st.tuples(AMOUNTS, st.sampled_from([0.0, 3.0])) | st.just((None, 0.0))
PACES = st.builds(
    lambda concurrency, batch, max_fail: Pace(concurrency, batch[0], batch[1], max_fail),
    st.none() | st.integers(1, 4),
    BATCHES,
    st.none() | AMOUNTS,
)
NODES = st.sampled_from("abcdefghijkl")
EVENTS = st.lists(
    st.tuples(st.just("ok"), NODES)
    | st.tuples(st.just("failed"), NODES)
    | st.tuples(st.just("silent"), NODES)
    | st.tuples(st.just("later"), st.floats(0, 8)),
    max_size=60,
)


class Watched:
    """A rollout driven by events, and an independent record of the state of each node."""

    def __init__(self, nodes: set[str], pace: Pace) -> None:
        self.nodes, self.pace, self.now = nodes, pace, 0.0
        self.rollout = Rollout(nodes, pace, TIMEOUT)
        self.reached: dict[str, float] = {}
        self.answers: dict[str, bool] = {}
        self.silent_nodes: set[str] = set()
        self.most = sys.maxsize if pace.max_fail is None else pace.max_fail.floor(len(nodes))

    def silent(self) -> set[str]:
        """Return the nodes that timed out and have not replied."""
        late = {node for node, since in self.reached.items() if self.now >= since + TIMEOUT}
        return (late | self.silent_nodes) - self.answers.keys()

    def failures(self) -> int:
        """Return the number of failed or silent nodes."""
        return len(self.silent()) + sum(not ok for ok in self.answers.values())

    def send(self) -> None:
        """Send to the nodes that are due, and check the limits."""
        self.rollout.expire(self.now)
        due = self.rollout.due(self.now)
        assert self.reached.keys().isdisjoint(due)
        if due:
            assert self.failures() < self.most
        self.rollout.sent(due, self.now)
        self.reached |= dict.fromkeys(due, self.now)
        working = self.reached.keys() - self.answers.keys() - self.silent()
        assert working == self.rollout.working.keys()
        if self.pace.concurrency is not None:
            assert len(working) <= self.pace.concurrency
        if self.pace.batch is not None:
            assert len(working) <= self.pace.batch.ceil(len(self.nodes))

    def happen(self, event: str, value: Any) -> None:
        """Apply an event."""
        if event == "later":
            self.now += value
        elif event == "silent":
            if value in self.rollout.working:
                self.silent_nodes.add(value)
            self.rollout.give_up([value])
        else:
            if value in self.reached:
                self.answers.setdefault(value, event == "ok")
            self.rollout.answered(value, event == "ok")


@settings(max_examples=3000, deadline=None)
@given(nodes=st.sets(NODES, min_size=1), pace=PACES, events=EVENTS)
def test_no_schedule_breaks_a_promise(nodes: set[str], pace: Pace, events: list[tuple[str, Any]]) -> None:
    """The limits hold, every node is reached at most once, and the rollout ends.

    The events include replies of unknown nodes, of nodes not reached, second replies and late replies.
    """
    watched = Watched(nodes, pace)
    watched.send()
    for event, value in events:
        watched.happen(event, value)
        watched.send()
    for _ in range(4 * len(nodes) + 4):
        if watched.rollout.over:
            break
        watched.now = max(watched.now, watched.rollout.wake())
        watched.send()
    assert watched.rollout.over
    assert watched.reached.keys() | watched.rollout.waiting == nodes
    assert watched.reached.keys().isdisjoint(watched.rollout.waiting)
    assert bool(watched.rollout.stopped) or not watched.rollout.waiting
    if watched.failures() >= watched.most:
        assert watched.rollout.stopped
