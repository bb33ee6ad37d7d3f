"""Names that people choose, and the names of queues that follow from them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collective import names
from collective.clients.commands import COMMANDS
from collective.errors import UsageError

QUEUE = re.compile(r"[A-Za-z0-9_-]{1,80}")
IDENTITIES = st.from_regex(r"[A-Za-z0-9_.-]{1,255}", fullmatch=True)
LONGEST = "c" * 20


@pytest.mark.parametrize("name", ["production", "a", "eu-west-1", "0", LONGEST])
def test_a_collective_may_have_this_name(name: str) -> None:
    """Small letters, digits and '-', 20 at most."""
    assert names.check_collective(name) == name


@pytest.mark.parametrize("name", ["", "Production", "a_b", "a.b", "c" * 21, "a\n", "é", "a b"])
def test_a_collective_may_not_have_this_name(name: str) -> None:
    """Anything else is refused, a trailing newline included."""
    with pytest.raises(UsageError, match="invalid collective name"):
        names.check_collective(name)


@pytest.mark.parametrize("name", ["web1.my.net", "i-0abc", "WEB_1", "a" * 255])
def test_a_node_may_have_this_name(name: str) -> None:
    """Letters, digits, '_', '.' and '-', 255 at most."""
    assert names.check_identity(name) == name


@pytest.mark.parametrize("name", ["", "a/b", "web1\n", " web1", "a" * 256, "wéb", "web[1-2]"])
def test_a_node_may_not_have_this_name(name: str) -> None:
    """Anything else is refused."""
    with pytest.raises(UsageError, match="invalid identity"):
        names.check_identity(name)


@given(identity=IDENTITIES)
def test_every_node_has_a_queue_that_sqs_accepts(identity: str) -> None:
    """However long the names are, the queue's name fits."""
    assert QUEUE.fullmatch(names.node_queue(LONGEST, identity))


def test_the_longest_names_are_what_aws_allows() -> None:
    """SQS: 80 characters of a queue's name, 256 of a tag's value; SNS: 256 of a topic's name."""
    identity, slot = "i" * 255, "s" * 50
    queues = names.node_queue(LONGEST, identity), names.reply_queue(LONGEST, slot)
    assert [len(queue) for queue in queues] == [77, 77]
    assert all(QUEUE.fullmatch(queue) for queue in queues)
    assert len(names.topic(LONGEST)) <= 256
    assert len(names.tags(LONGEST, identity)["collective:identity"]) <= 256


@given(one=IDENTITIES, other=IDENTITIES)
def test_two_nodes_never_share_a_queue(one: str, other: str) -> None:
    """Names that look alike once their odd characters are gone still differ."""
    assert (names.node_queue("p", one) == names.node_queue("p", other)) == (one == other)


def test_names_that_become_the_same_slug_have_two_queues() -> None:
    """The digest tells a dot from a dash."""
    assert names.slug("web1.my.net") == names.slug("web1-my-net")
    assert names.node_queue("p", "web1.my.net") != names.node_queue("p", "web1-my-net")


@pytest.mark.parametrize("queue", ["p_reply_alice-laptop-x7k2-0", "p_reply_A"])
def test_this_is_a_reply_queue(queue: str) -> None:
    """A reply queue of the same collective may be answered to."""
    assert names.is_reply_queue(queue, "p")


@pytest.mark.parametrize(
    "queue", ["", "p_reply_", "q_reply_a", "p_node_web1-0123456789", "p_requests", "p_reply_a_b", "p_reply_a\n", "x"]
)
def test_this_is_no_reply_queue(queue: str) -> None:
    """Nothing else may be answered to: a node's queue least of all."""
    assert not names.is_reply_queue(queue, "p")


@given(identity=IDENTITIES)
def test_a_nodes_queue_is_known_as_one(identity: str) -> None:
    """Of its own collective, not of one whose name begins alike."""
    queue = names.node_queue("prod", identity)
    assert names.is_node_queue(queue, "prod")
    assert not names.is_node_queue(names.node_queue("prod-eu", identity), "prod")


@pytest.mark.parametrize("queue", ["prod_node_", "prod_node_exporter", "prod_nodes", "prod_node_web1-0123456789\n"])
def test_what_is_called_alike_is_no_nodes_queue(queue: str) -> None:
    """Somebody else's: nothing of ours may remove it."""
    assert not names.is_node_queue(queue, "prod")


def test_no_agent_may_take_the_name_of_a_command() -> None:
    """Every command of crpc is among the reserved names."""
    assert set(COMMANDS) <= names.RESERVED
