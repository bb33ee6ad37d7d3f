"""Rolling out: amounts are read and chosen as people know them, and no schedule of answers breaks a promise."""

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


# -- the field's own cases


@cases("limit_targets")
def test_limit_chooses_as_many_as_the_case_says(case: dict[str, Any]) -> None:
    """A percentage is rounded down, to one at least; which nodes those are, chance decides."""
    given = case["input"]
    chosen = Targets(limit=given["limit"], limit_seed=given.get("seed")).sample(given["discovered"])
    assert len(chosen) == len(case["expected"])
    assert set(chosen) <= set(given["discovered"])


@cases("limit_parse")
def test_limit_is_read_as_the_case_says(case: dict[str, Any]) -> None:
    """Numbers, texts of numbers and percentages; anything else is refused."""
    limit, expected = case["input"]["limit"], case["expected"]
    if limit is None:
        assert Pace(max_fail=limit).max_fail is expected
    elif isinstance(expected, dict):
        with pytest.raises(UsageError, match=f"--limit '{limit}'"):
            read_amount("--limit", limit)
    else:
        assert read_amount("--limit", limit) == Amount(expected)


@cases("batch_size")
def test_a_batch_is_as_large_as_the_case_says(case: dict[str, Any]) -> None:
    """A percentage is rounded up."""
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
def test_what_is_no_amount_is_refused_with_option_and_text(text: str | float) -> None:
    """Nothing is guessed: the line names both, and what there may be."""
    with pytest.raises(UsageError) as caught:
        read_amount("--batch", text)
    assert str(caught.value).startswith(f"--batch '{text}': must be a number of nodes")


@pytest.mark.parametrize("text", ["0", "5%", "1.0", "-1", "two", "", 0, True])
def test_what_is_no_count_is_refused(text: str | int) -> None:
    """Concurrency is a number of nodes, not a percentage."""
    with pytest.raises(UsageError, match="concurrency '"):
        read_count("concurrency", text)


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"batch_sleep": 1.0}, "batch_sleep: has no effect without batch"),
        ({"batch": 2, "batch_sleep": -1.0}, "batch_sleep '-1.0': must be a number of seconds"),
        ({"batch": 2, "batch_sleep": math.inf}, "batch_sleep 'inf'"),
        ({"max_fail": "0%"}, "max_fail '0%'"),
    ],
)
def test_wishes_that_make_no_sense_are_refused(wishes: dict[str, Any], said: str) -> None:
    """By the argument's name."""
    with pytest.raises(UsageError, match=said):
        Pace(**wishes)


@given(nodes=st.sets(st.text("abc123", min_size=1), min_size=1), percent=st.integers(1, 100), seed=st.integers())
def test_a_seed_chooses_the_same_nodes_again(nodes: set[str], percent: int, seed: int) -> None:
    """Whatever order they come in; a larger limit adds nodes to those of a smaller one."""
    limit = Amount(percent, percent=True)
    chosen = Targets(limit=limit, limit_seed=seed).sample(sorted(nodes))
    assert chosen == Targets(limit=limit, limit_seed=seed).sample(sorted(nodes, reverse=True))
    assert set(chosen) <= set(Targets(limit="100%", limit_seed=seed).sample(nodes)) == nodes
    assert set(Targets(limit=1, limit_seed=seed).sample(nodes)) <= set(chosen)


def test_without_a_seed_everybody_may_be_chosen() -> None:
    """It is not always the first ones: a hundred draws of one in four meet all of them."""
    assert {Targets(limit=1).sample("abcd")[0] for _ in range(100)} == set("abcd")


# -- the machine, step by step


def test_without_a_pace_everybody_is_sent_to_at_once() -> None:
    """And each node's time ends with the call's."""
    rollout = Rollout(["b", "a"], Pace(), TIMEOUT)
    assert rollout.due(0) == ["a", "b"]
    rollout.sent(["a", "b"], 1)
    assert (rollout.due(1), rollout.wake(), rollout.over) == ([], 1 + TIMEOUT, False)
    rollout.expire(1 + TIMEOUT)
    assert rollout.over


def test_whoever_answers_or_is_given_up_makes_room() -> None:
    """A sliding window of two: an answer frees a place at once, a silent node when its own time is over."""
    rollout = Rollout("abcd", Pace(concurrency=2), TIMEOUT)
    rollout.sent(rollout.due(0), 0)
    assert list(rollout.working) == ["a", "b"]
    assert rollout.due(1) == []
    rollout.answered("b", ok=False)
    assert rollout.due(1) == ["c"]
    rollout.sent(["c"], 1)
    rollout.expire(TIMEOUT)
    assert (rollout.due(TIMEOUT), rollout.wake()) == (["d"], 1 + TIMEOUT)


def test_a_batch_waits_for_the_one_before_and_its_pause() -> None:
    """The pause runs from the last answer, and not after the last batch."""
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


def test_concurrency_slides_within_a_batch() -> None:
    """Both limits hold at once."""
    rollout = Rollout("abcdef", Pace(batch=Amount(50, percent=True), concurrency=2), TIMEOUT)
    rollout.sent(rollout.due(0), 0)
    rollout.answered("a", ok=True)
    assert rollout.due(0) == ["c"]
    rollout.sent(["c"], 0)
    rollout.answered("b", ok=True)
    assert rollout.due(0) == []
    rollout.answered("c", ok=True)
    assert rollout.due(0) == ["d", "e"]


def test_failures_stop_it_and_who_works_is_still_waited_for() -> None:
    """The second failure, here a silence, is one too many."""
    rollout = Rollout("abcd", Pace(concurrency=2, max_fail=Amount(2)), TIMEOUT)
    rollout.sent(rollout.due(0), 0)
    rollout.answered("a", ok=False)
    rollout.sent(rollout.due(1), 1)
    rollout.give_up(["b"])
    assert (rollout.due(2), list(rollout.waiting), rollout.over) == ([], ["d"], False)
    assert rollout.stopped == "2 nodes failed or silent, max-fail is 2"
    rollout.answered("c", ok=True)
    assert rollout.over


def test_max_fail_alone_never_has_more_at_work_than_may_fail() -> None:
    """Nobody who asks for it wants the whole fleet to have failed when it is looked at."""
    rollout = Rollout("abcdefghij", Pace(max_fail=Amount(30, percent=True)), TIMEOUT)
    rollout.sent(rollout.due(0), 0)
    assert len(rollout.working) == 3
    rollout.answered("a", ok=False)
    assert rollout.due(0) == []
    rollout.answered("b", ok=True)
    assert rollout.due(0) == ["d"]


def test_a_late_answer_takes_a_silence_back() -> None:
    """A node is silent or has answered, never both; what has been stopped stays stopped."""
    rollout = Rollout("abc", Pace(concurrency=1, max_fail=Amount(2)), TIMEOUT)
    rollout.sent(rollout.due(0), 0)
    rollout.expire(TIMEOUT)
    rollout.answered("a", ok=True)
    rollout.answered("a", ok=False)
    rollout.sent(rollout.due(TIMEOUT), TIMEOUT)
    rollout.answered("b", ok=False)
    assert (rollout.stopped, rollout.due(TIMEOUT)) == ("", ["c"])


# -- any schedule

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
    | st.tuples(st.just("deaf"), NODES)
    | st.tuples(st.just("later"), st.floats(0, 8)),
    max_size=60,
)


class Watched:
    """A rollout that is driven by events, and what each node has done, kept apart from it."""

    def __init__(self, nodes: set[str], pace: Pace) -> None:
        self.nodes, self.pace, self.now = nodes, pace, 0.0
        self.rollout = Rollout(nodes, pace, TIMEOUT)
        self.reached: dict[str, float] = {}
        self.answers: dict[str, bool] = {}
        self.deaf: set[str] = set()
        self.most = sys.maxsize if pace.max_fail is None else pace.max_fail.floor(len(nodes))

    def silent(self) -> set[str]:
        """Return who was given up and has not answered."""
        late = {node for node, since in self.reached.items() if self.now >= since + TIMEOUT}
        return (late | self.deaf) - self.answers.keys()

    def failures(self) -> int:
        """Return how many have failed or are silent."""
        return len(self.silent()) + sum(not ok for ok in self.answers.values())

    def send(self) -> None:
        """Send to whom it is time to, and hold the rollout to its promises."""
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

    def happen(self, what: str, whom: Any) -> None:
        """Have one event happen."""
        if what == "later":
            self.now += whom
        elif what == "deaf":
            if whom in self.rollout.working:
                self.deaf.add(whom)
            self.rollout.give_up([whom])
        else:
            if whom in self.reached:
                self.answers.setdefault(whom, what == "ok")
            self.rollout.answered(whom, what == "ok")


@settings(max_examples=3000, deadline=None)
@given(nodes=st.sets(NODES, min_size=1), pace=PACES, events=EVENTS)
def test_no_schedule_breaks_a_promise(nodes: set[str], pace: Pace, events: list[tuple[str, Any]]) -> None:
    """Never more at work than asked, nobody reached after too many failures, everybody reached once, and it ends.

    Answers of the unknown, of those not reached, twice and late are among the events.
    """
    watched = Watched(nodes, pace)
    watched.send()
    for what, whom in events:
        watched.happen(what, whom)
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
