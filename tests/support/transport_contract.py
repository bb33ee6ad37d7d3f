"""The contract that every transport must meet.

A test module defines a `transport` fixture and imports these tests:

    from transport_contract import *  # noqa: F403

`queue` and `topic` are fixtures with unique names.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from collective.errors import MessageTooLarge, NotFound
from collective.transport import BATCH, BROADCAST_LIMIT, SEND_LIMIT, Delivery, Transport

__all__ = [
    "test_a_broadcast_reaches_every_queue_of_the_topic",
    "test_a_broadcast_that_is_too_large_is_refused",
    "test_a_known_reply_queue_can_be_opened_again",
    "test_a_message_arrives_unchanged",
    "test_a_message_as_large_as_allowed_arrives",
    "test_a_message_that_is_too_large_is_refused",
    "test_a_queue_can_be_opened_twice",
    "test_a_queue_that_was_not_opened_does_not_exist",
    "test_a_received_message_is_hidden",
    "test_a_subscription_that_exists_is_kept",
    "test_a_waiting_receive_returns_with_the_first_message",
    "test_acknowledged_messages_are_deleted",
    "test_receive_returns_an_empty_list_after_the_wait",
    "test_the_age_of_a_message_is_by_the_server_clock",
    "test_unread_counts_messages_not_received",
]

NOTHING_COMES = 1.0  # seconds for a receive without a message


def receive_all(transport: Transport, queue: str, count: int) -> list[Delivery]:
    """Receive and acknowledge `count` messages; fail when they do not arrive."""
    found: list[Delivery] = []
    until = time.monotonic() + 20
    while len(found) < count:
        assert time.monotonic() < until, f"only {len(found)} of {count} messages came"
        batch = transport.receive(queue, 2.0)
        transport.acknowledge(queue, batch)
        found += batch
    return found


@pytest.fixture
def queue(names: Callable[[str], str], transport: Transport, topic: str) -> str:
    """Return an open node queue."""
    name = names("node")
    transport.open_node(name, topic)
    return name


@pytest.fixture
def topic(names: Callable[[str], str]) -> str:
    """Return the name of a topic."""
    return names("requests")


def test_a_message_arrives_unchanged(transport: Transport, queue: str) -> None:
    """The body is exactly the one sent, including quotes, backslashes and angle brackets."""
    body = '{"payload": "a \\"b\\" <c> & \\\\u00e4 %"}'
    transport.send(queue, body)
    assert [delivery.body for delivery in receive_all(transport, queue, 1)] == [body]


def test_a_message_as_large_as_allowed_arrives(transport: Transport, queue: str) -> None:
    """A message of exactly the maximum size is delivered."""
    transport.send(queue, "x" * SEND_LIMIT)
    assert len(receive_all(transport, queue, 1)[0].body) == SEND_LIMIT


def test_a_message_that_is_too_large_is_refused(transport: Transport, queue: str) -> None:
    """A message of one byte more than the limit is an error with size and limit, and nothing is delivered."""
    with pytest.raises(MessageTooLarge) as refused:
        transport.send(queue, "x" * (SEND_LIMIT + 1))
    assert (refused.value.size, refused.value.limit) == (SEND_LIMIT + 1, SEND_LIMIT)
    assert transport.receive(queue, 0.0) == []


def test_a_subscription_that_exists_is_kept(transport: Transport, queue: str, topic: str) -> None:
    """The check of a subscription adds no second one: a broadcast arrives once."""
    transport.check_subscription(queue, topic)
    transport.broadcast(topic, "to all")
    assert [delivery.body for delivery in receive_all(transport, queue, 1)] == ["to all"]
    assert transport.receive(queue, NOTHING_COMES) == []


def test_a_broadcast_that_is_too_large_is_refused(transport: Transport, queue: str, topic: str) -> None:
    """Broadcasts have a smaller limit."""
    with pytest.raises(MessageTooLarge) as refused:
        transport.broadcast(topic, "x" * (BROADCAST_LIMIT + 1))
    assert (refused.value.size, refused.value.limit) == (BROADCAST_LIMIT + 1, BROADCAST_LIMIT)
    assert transport.receive(queue, 0.0) == []


def test_receive_returns_an_empty_list_after_the_wait(transport: Transport, queue: str) -> None:
    """Nothing is raised when no message arrives."""
    assert transport.receive(queue, NOTHING_COMES) == []


def test_a_waiting_receive_returns_with_the_first_message(transport: Transport, queue: str) -> None:
    """A long poll ends when a message arrives, before the end of the wait."""
    began = time.monotonic()
    sender = threading.Timer(0.3, transport.send, (queue, "hello"))
    sender.start()
    assert [delivery.body for delivery in transport.receive(queue, 20.0)] == ["hello"]
    sender.join()
    assert time.monotonic() - began < 10


def test_a_received_message_is_hidden(transport: Transport, queue: str) -> None:
    """A message that was received and not yet acknowledged is hidden."""
    transport.send(queue, "once")
    assert len(transport.receive(queue, 5.0)) == 1
    assert transport.receive(queue, 0.0) == []


def test_acknowledged_messages_are_deleted(transport: Transport, queue: str) -> None:
    """More messages than one batch can be acknowledged at once."""
    for number in range(BATCH + 3):
        transport.send(queue, str(number))
    found: list[Delivery] = []
    while len(found) < BATCH + 3:
        batch = transport.receive(queue, 5.0)
        assert 0 < len(batch) <= BATCH
        found += batch
    transport.acknowledge(queue, found)
    assert sorted(int(delivery.body) for delivery in found) == list(range(BATCH + 3))
    assert transport.unread(queue) == 0


def test_a_broadcast_reaches_every_queue_of_the_topic(
    transport: Transport, names: Callable[[str], str], topic: str
) -> None:
    """Each subscribed queue gets a copy of the raw body, and queues of other topics get nothing."""
    members, stranger = [names(f"node{number}") for number in range(3)], names("stranger")
    for member in members:
        transport.open_node(member, topic)
    transport.open_node(stranger, names("other"))
    transport.broadcast(topic, '{"to": "all"}')
    for member in members:
        assert [delivery.body for delivery in receive_all(transport, member, 1)] == ['{"to": "all"}']
    assert transport.receive(stranger, 0.0) == []


def test_a_queue_that_was_not_opened_does_not_exist(
    transport: Transport, queue: str, names: Callable[[str], str]
) -> None:
    """Sending to a queue that was not opened, receiving from it and counting its messages raise NotFound."""
    missing = names("missing")
    for use in (
        lambda: transport.send(missing, "x"),
        lambda: transport.receive(missing, 0.0),
        lambda: transport.unread(missing),
        lambda: transport.unacknowledged(missing),
    ):
        with pytest.raises(NotFound) as refused:
            use()
        assert refused.value.name == missing


def test_a_queue_can_be_opened_twice(transport: Transport, queue: str, topic: str) -> None:
    """A restarted daemon opens its queue again, and a broadcast still arrives once."""
    transport.open_node(queue, topic)
    transport.broadcast(topic, "once")
    assert len(receive_all(transport, queue, 1)) == 1
    assert transport.receive(queue, NOTHING_COMES) == []


def test_a_known_reply_queue_can_be_opened_again(transport: Transport, names: Callable[[str], str]) -> None:
    """The value returned by the first opening saves the second one a request, and the queue works."""
    replies = names("reply")
    known = transport.open_replies(replies)
    assert transport.open_replies(replies, known) == known
    transport.send(replies, "answer")
    assert len(receive_all(transport, replies, 1)) == 1


def test_the_age_of_a_message_is_by_the_server_clock(transport: Transport, queue: str) -> None:
    """Sent and received times are Unix seconds of the server's clock, so a new message is at most seconds old."""
    transport.send(queue, "fresh")
    delivery = receive_all(transport, queue, 1)[0]
    assert -1.0 <= delivery.received - delivery.sent < 10.0
    assert abs(delivery.sent - transport.now()) < 10.0


def test_unread_counts_messages_not_received(transport: Transport, queue: str) -> None:
    """An unresponsive node is recognised by its unread queue."""
    assert transport.unread(queue) == 0
    transport.send(queue, "hello?")
    assert transport.unread(queue) == 1
    assert transport.unacknowledged(queue) == 1
    deliveries = transport.receive(queue, 5.0)
    assert transport.unread(queue) == 0
    assert transport.unacknowledged(queue) == 1
    transport.acknowledge(queue, deliveries)
    assert transport.unacknowledged(queue) == 0
