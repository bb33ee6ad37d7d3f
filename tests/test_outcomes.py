"""Outcomes: every node ends in exactly one, by name, and the exit code tells the truth."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.messages import REPLY

from collective.fleet.outcomes import Outcomes
from collective.messages import Reply

NODES = st.sampled_from(["a", "b", "c", "d", "e"])


def reply(sender: str, statuscode: int = 0) -> Reply:
    return replace(REPLY, sender=sender, statuscode=statuscode)


def ended(expected: str, ok: str = "", failed: str = "", skipped: str = "") -> Outcomes:
    """A call that is over; each letter is a node."""
    outcomes = Outcomes(expected)
    outcomes.skip(skipped)
    for sender in ok:
        outcomes.record(reply(sender))
    for sender in failed:
        outcomes.record(reply(sender, 1))
    return outcomes


@given(
    expected=st.sets(NODES),
    skipped=st.sets(NODES),
    replies=st.lists(st.tuples(NODES, st.integers(0, 5))),
)
def test_every_node_ends_in_exactly_one_outcome(
    expected: set[str], skipped: set[str], replies: list[tuple[str, int]]
) -> None:
    """However replies come, twice or unasked: all are accounted for and none twice."""
    outcomes = Outcomes(expected)
    outcomes.skip(skipped & expected)
    for sender, statuscode in replies:
        outcomes.record(reply(sender, statuscode))
    named = [*outcomes.ok, *outcomes.failed, *outcomes.silent, *outcomes.skipped]
    assert sorted(named) == sorted(expected | {sender for sender, _ in replies})
    counts = outcomes.counts()
    assert counts["ok"] + counts["failed"] + counts["silent"] + counts["skipped"] == len(named)


def test_the_first_reply_of_a_node_counts() -> None:
    """A second one is no news and changes nothing."""
    outcomes = Outcomes(["a"])
    assert outcomes.record(reply("a", 1))
    assert not outcomes.record(reply("a", 0))
    assert (outcomes.failed, outcomes.ok) == (["a"], [])


def test_a_reply_that_nobody_expected_does_not_end_a_call() -> None:
    """Names are accounted for, replies are not counted."""
    outcomes = ended("ab", ok="ac")
    assert outcomes.unexpected == ["c"]
    assert outcomes.waiting == {"b"}
    assert outcomes.silent == ["b"]


def test_a_node_that_was_skipped_and_answers_has_answered() -> None:
    """Whoever answers was sent to after all."""
    outcomes = ended("ab", ok="a", skipped="ab")
    assert (outcomes.ok, outcomes.skipped) == (["a"], {"b"})
    outcomes.skip(["a"])
    assert outcomes.skipped == {"b"}


def test_a_rejected_reply_is_no_answer() -> None:
    """Its node is named, and stays silent."""
    outcomes = Outcomes(["a"])
    outcomes.reject("a")
    assert outcomes.counts() == {"ok": 0, "failed": 0, "silent": 1, "skipped": 0, "unexpected": 0, "rejected": 1}


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        (ended("ab", ok="ab"), 0),
        (ended("", ok="a"), 0),
        (ended(""), 1),
        (ended("ab", ok="a", failed="b"), 2),
        (ended("abc", ok="a", failed="b"), 2),
        (ended("ab", ok="a"), 3),
        (ended("ab", ok="a", skipped="b"), 3),
        (ended("a", ok="a", failed="x"), 2),
        (ended("a"), 3),
    ],
    ids=[
        "all ok",
        "unasked ok",
        "nobody",
        "failed",
        "failed and silent",
        "silent",
        "skipped",
        "unasked failed",
        "mute",
    ],
)
def test_the_exit_code_tells_the_truth(outcomes: Outcomes, code: int) -> None:
    """Failed comes before silent; the replies of unexpected nodes count like the others."""
    assert outcomes.exit_code() == code


def test_a_call_that_was_stopped_says_so_before_all() -> None:
    """4 comes before 2 and 3."""
    outcomes = ended("abc", ok="a", failed="b")
    outcomes.stopped = True
    assert outcomes.exit_code() == 4
