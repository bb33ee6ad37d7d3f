"""The journal: what has been taken on is remembered for as long as it may come again."""

from __future__ import annotations

import pytest
from test_messages import REPLY

from collective.errors import Failed
from collective.messages import MAX_TTL
from collective.node.journal import KEPT, Journal

BEGAN = 1000.0


def test_what_was_not_taken_on_is_not_found() -> None:
    """A new request has no entry."""
    assert Journal(BEGAN).find("a") is None


def test_a_running_request_is_found_without_an_answer() -> None:
    """A second delivery of what still runs is seen to be one."""
    journal = Journal(BEGAN)
    journal.begin("a", BEGAN)
    entry = journal.find("a")
    assert entry is not None
    assert entry.reply is None


def test_a_finished_request_is_found_with_its_answer() -> None:
    """The stored answer is the one that was given."""
    journal = Journal(BEGAN)
    journal.begin("a", BEGAN)
    journal.finish("a", REPLY)
    entry = journal.find("a")
    assert entry is not None
    assert entry.reply is REPLY


def test_the_answer_of_a_forgotten_request_is_let_go() -> None:
    """Finishing what was never begun, or is long gone, changes nothing."""
    journal = Journal(BEGAN)
    journal.finish("a", REPLY)
    assert journal.find("a") is None


def test_entries_are_kept_longer_than_a_request_can_be_valid() -> None:
    """Up to the last second a repeated request is known; after it, it is forgotten."""
    journal = Journal(BEGAN)
    journal.begin("a", BEGAN)
    journal.begin("b", BEGAN + KEPT)
    assert journal.find("a") is not None
    journal.begin("c", BEGAN + KEPT + 1)
    assert journal.find("a") is None
    assert journal.find("b") is not None
    assert KEPT > MAX_TTL


def test_a_full_journal_forgets_nothing_and_says_busy() -> None:
    """Room is made by age alone, never by number."""
    journal = Journal(BEGAN, capacity=2)
    journal.begin("a", BEGAN)
    journal.begin("b", BEGAN)
    with pytest.raises(Failed, match="the journal holds 2 requests") as caught:
        journal.begin("c", BEGAN + 1)
    assert caught.value.reason == "busy"
    assert journal.find("a") is not None
    journal.begin("c", BEGAN + KEPT + 1)
    assert journal.find("c") is not None


def test_what_was_sent_before_it_began_is_too_early() -> None:
    """Nobody knows whether an earlier daemon has run it."""
    journal = Journal(BEGAN)
    assert journal.too_early(BEGAN - 0.001)
    assert not journal.too_early(BEGAN)
