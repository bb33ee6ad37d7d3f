"""Waves, ranks, groups, rates, budgets, retries and gates of a rollout, step by step and under arbitrary schedules."""

from __future__ import annotations

from typing import Any

import pytest

from collective.errors import UsageError
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
