"""Every node ends in exactly one outcome, and the exit code is that of the worst."""

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
    """Return the outcomes of a finished call; each letter is a node."""
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
    """Each node has one outcome, whether replies are repeated or unexpected."""
    outcomes = Outcomes(expected)
    outcomes.skip(skipped & expected)
    for sender, statuscode in replies:
        outcomes.record(reply(sender, statuscode))
    named = [*outcomes.ok, *outcomes.failed, *outcomes.silent, *outcomes.skipped]
    assert sorted(named) == sorted(expected | {sender for sender, _ in replies})
    counts = outcomes.counts()
    assert counts["ok"] + counts["failed"] + counts["silent"] + counts["skipped"] == len(named)


def test_only_the_first_reply_of_a_node_counts() -> None:
    """A second reply is ignored."""
    outcomes = Outcomes(["a"])
    assert outcomes.record(reply("a", 1))
    assert not outcomes.record(reply("a", 0))
    assert (outcomes.failed, outcomes.ok) == (["a"], [])


def test_an_unexpected_reply_does_not_complete_a_call() -> None:
    """A reply of an unexpected node does not count as that of an expected one."""
    outcomes = ended("ab", ok="ac")
    assert outcomes.unexpected == ["c"]
    assert outcomes.waiting == {"b"}
    assert outcomes.silent == ["b"]


def test_a_skipped_node_that_replies_has_answered() -> None:
    """A node that replies is removed from the skipped nodes."""
    outcomes = ended("ab", ok="a", skipped="ab")
    assert (outcomes.ok, outcomes.skipped) == (["a"], {"b"})
    outcomes.skip(["a"])
    assert outcomes.skipped == {"b"}


def test_a_rejected_reply_does_not_count() -> None:
    """The node of a rejected reply is named, and stays silent."""
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
def test_the_exit_code_is_that_of_the_worst_outcome(outcomes: Outcomes, code: int) -> None:
    """Failed is worse than silent, and unexpected nodes count like expected ones."""
    assert outcomes.exit_code() == code


def test_a_stopped_call_has_exit_code_4() -> None:
    """The exit code of a stopped call takes precedence over failed and silent."""
    outcomes = ended("abc", ok="a", failed="b")
    outcomes.stopped = True
    assert outcomes.exit_code() == 4
