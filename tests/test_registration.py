"""A node checks the subscription of its queue whenever it registers."""

from __future__ import annotations

import pytest
from support.membership import Clock
from support.waiting import wait_until

from collective.errors import NotFound, Unreachable
from collective.node.service.registration import Registration
from collective.registry import NodeRecord
from collective.registry.memory import MemoryRegistry
from collective.transport.memory import MemoryTransport

QUEUE, TOPIC = "p_node_web1", "p_requests"
RECORD = NodeRecord("web1", "1")


def reached(transport: MemoryTransport) -> bool:
    """Return whether a broadcast reaches the queue."""
    try:
        transport.broadcast(TOPIC, "x")
    except NotFound:
        return False
    return transport.unread(QUEUE) > 0


def test_a_removed_topic_is_repaired_with_the_next_registration() -> None:
    """Broadcasts reach the node again, although its record has not changed."""
    transport = MemoryTransport()
    transport.open_node(QUEUE, TOPIC)
    registration = Registration(
        MemoryRegistry(), lambda: RECORD, 300, lambda: transport.check_subscription(QUEUE, TOPIC)
    )
    registration.start()
    try:
        wait_until(registration.tried.is_set, 30)
        transport.remove_topic(TOPIC)
        registration.refresh()
        wait_until(lambda: reached(transport), 30)
    finally:
        registration.stop(10)


def test_a_check_that_fails_is_logged_and_does_not_end_the_registration(caplog: pytest.LogCaptureFixture) -> None:
    """The node is registered, and the check is repeated with the next registration."""
    checks: list[int] = []

    def check() -> None:
        checks.append(1)
        raise Unreachable("topic: no response")

    registry = MemoryRegistry()
    registration = Registration(registry, lambda: RECORD, 300, check)
    registration.start()
    try:
        wait_until(lambda: len(checks) == 1, 30)
        registration.refresh()
        wait_until(lambda: len(checks) == 2, 30)
    finally:
        registration.stop(10)
    assert "subscription.failed" in [record.getMessage() for record in caplog.records]
    assert [one.identity for one in registry.read().records] == ["web1"]


def test_others_can_ask_for_a_heartbeat_but_not_for_many() -> None:
    """A node that is suspected sends a heartbeat at once, at most every two seconds."""
    clock, beats = Clock(), list[float]()
    registration = Registration(MemoryRegistry(), lambda: RECORD, 300, lambda: beats.append(clock.time), clock)
    registration.start()
    try:
        wait_until(lambda: len(beats) == 1, 30)
        for seconds in (1.0, 0.9, 0.2, 1.9, 0.2):
            clock.time += seconds
            before = len(beats)
            registration.prove_alive()
            if clock.time - beats[-1] >= 2.0:
                wait_until(lambda before=before: len(beats) == before + 1, 30)  # type: ignore[misc]
    finally:
        registration.stop(10)
    assert beats == pytest.approx([1000.0, 1002.1, 1004.2])
