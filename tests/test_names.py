"""Names chosen by users, and queue names derived from them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collective import names
from collective.clients.commands import COMMANDS
from collective.errors import UsageError

QUEUE = re.compile(r"[A-Za-z0-9_-]{1,80}")
IDENTITIES = st.from_regex(r"[A-Za-z0-9_.][A-Za-z0-9_.-]{0,254}", fullmatch=True)
LONGEST = "c" * 20


@pytest.mark.parametrize("name", ["production", "a", "eu-west-1", "0", LONGEST])
def test_valid_collective_names(name: str) -> None:
    """Lower-case letters, digits and '-' are valid, at most 20 characters."""
    assert names.check_collective(name) == name


@pytest.mark.parametrize("name", ["", "Production", "a_b", "a.b", "c" * 21, "a\n", "é", "a b"])
def test_invalid_collective_names(name: str) -> None:
    """Any other name is refused, also with a trailing newline."""
    with pytest.raises(UsageError, match="invalid collective name"):
        names.check_collective(name)


@pytest.mark.parametrize("name", ["web1.my.net", "i-0abc", "WEB_1", "a" * 255])
def test_valid_identities(name: str) -> None:
    """Letters, digits, '_', '.' and '-' are valid, at most 255 characters."""
    assert names.check_identity(name) == name


@pytest.mark.parametrize("name", ["", "a/b", "web1\n", " web1", "a" * 256, "wéb", "web[1-2]", ".", "..", "-rf"])
def test_invalid_identities(name: str) -> None:
    """Any other name is refused, also one that another program would take for an option."""
    with pytest.raises(UsageError, match="invalid identity"):
        names.check_identity(name)


@given(identity=IDENTITIES)
def test_every_identity_has_a_valid_queue_name(identity: str) -> None:
    """Queue names are short enough for SQS, whatever the names are."""
    assert QUEUE.fullmatch(names.node_queue(LONGEST, identity))


def test_the_longest_names_fit_the_limits_of_aws() -> None:
    """SQS queue names have at most 80 characters, tag values 256; SNS topic names 256."""
    identity, slot = "i" * 255, "s" * 50
    queues = names.node_queue(LONGEST, identity), names.reply_queue(LONGEST, slot)
    assert [len(queue) for queue in queues] == [77, 77]
    assert all(QUEUE.fullmatch(queue) for queue in queues)
    assert len(names.topic(LONGEST)) <= 256
    assert len(names.tags(LONGEST, identity)["collective:identity"]) <= 256


@given(one=IDENTITIES, other=IDENTITIES)
def test_two_nodes_never_share_a_queue(one: str, other: str) -> None:
    """Identities that differ only in replaced characters have different queues."""
    assert (names.node_queue("p", one) == names.node_queue("p", other)) == (one == other)


def test_names_with_the_same_slug_have_different_queues() -> None:
    """The digest is different for a dot and a dash."""
    assert names.slug("web1.my.net") == names.slug("web1-my-net")
    assert names.node_queue("p", "web1.my.net") != names.node_queue("p", "web1-my-net")


@pytest.mark.parametrize("queue", ["p_reply_alice-laptop-x7k2-0", "p_reply_A"])
def test_valid_reply_queue_names(queue: str) -> None:
    """Nodes can reply to a reply queue of their collective."""
    assert names.is_reply_queue(queue, "p")


@pytest.mark.parametrize(
    "queue", ["", "p_reply_", "q_reply_a", "p_node_web1-0123456789", "p_requests", "p_reply_a_b", "p_reply_a\n", "x"]
)
def test_invalid_reply_queue_names(queue: str) -> None:
    """Nodes cannot reply to any other queue, such as a node's queue."""
    assert not names.is_reply_queue(queue, "p")


@given(identity=IDENTITIES)
def test_node_queues_are_recognized(identity: str) -> None:
    """A node queue belongs to its own collective only, not to one with a similar name."""
    queue = names.node_queue("prod", identity)
    assert names.is_node_queue(queue, "prod")
    assert not names.is_node_queue(names.node_queue("prod-eu", identity), "prod")


@pytest.mark.parametrize("queue", ["prod_node_", "prod_node_exporter", "prod_nodes", "prod_node_web1-0123456789\n"])
def test_similar_names_are_not_node_queues(queue: str) -> None:
    """A queue with a similar name belongs to another application and is never removed."""
    assert not names.is_node_queue(queue, "prod")


def test_the_names_of_commands_are_reserved() -> None:
    """Every command of crpc is a reserved name."""
    assert set(COMMANDS) <= names.RESERVED
