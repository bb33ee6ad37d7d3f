"""The faulty transport: with rates of 0 it meets the transport contract; its faults have the given rates and seed."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from support.transport_contract import *  # noqa: F403 - the contract's tests
from support.transport_contract import queue, topic  # noqa: F401 - its fixtures

from collective.errors import Unreachable
from collective.testing import FaultRates, FaultyTransport
from collective.transport.memory import MemoryTransport

COUNT = 400


class World:
    """A network with a clock that the test sets."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.network = MemoryTransport(clock=lambda: self.time)
        self.network.open_replies("queue")

    def faulty(self, seed: int = 7, **rates: float) -> FaultyTransport:
        """Return a transport with these faults."""
        return FaultyTransport(self.network, FaultRates(**rates), seed)

    def receive(self, transport: FaultyTransport) -> list[str]:
        """Receive and acknowledge all messages that are due; return their bodies."""
        bodies: list[str] = []
        while batch := transport.receive("queue", 0.0):
            transport.acknowledge("queue", batch)
            bodies += [delivery.body for delivery in batch]
        return bodies

    def through(self, transport: FaultyTransport) -> list[str]:
        """Send numbers, and return those that arrive immediately."""
        for number in range(COUNT):
            self.network.send("queue", f"{number:04}")
        return self.receive(transport)


SENT = [f"{number:04}" for number in range(COUNT)]


@pytest.fixture
def transport() -> FaultyTransport:
    """Return a transport without faults, for the contract."""
    return FaultyTransport(MemoryTransport())


@pytest.fixture
def names() -> Callable[[str], str]:
    """Return a function that makes unique names."""
    counter = itertools.count()
    return lambda stem: f"{stem}-{next(counter)}"


@pytest.fixture
def world() -> World:
    """Return a network with one queue."""
    return World()


def test_dropped_messages_are_lost_and_recorded(world: World) -> None:
    """About the given share of messages is lost, and the others arrive."""
    faulty = world.faulty(drop=0.1)
    arrived = world.through(faulty)
    lost = [body for _, body in faulty.lost]
    assert 20 < len(lost) < 60
    assert sorted(arrived + lost) == SENT
    assert faulty.counts["drop"] == len(lost)
    assert faulty.delivered == len(arrived)
    world.time += 100
    assert world.receive(faulty) == []


def test_duplicated_messages_arrive_twice(world: World) -> None:
    """The duplicate arrives later, even though the first message was acknowledged."""
    faulty = world.faulty(duplicate=0.1)
    arrived = world.through(faulty)
    world.time += 1
    again = world.receive(faulty)
    assert arrived == SENT
    assert 20 < len(again) == faulty.counts["duplicate"] < 60
    assert set(again) < set(SENT)


def test_delayed_messages_arrive_later(world: World) -> None:
    """A delayed message arrives within the longest delay."""
    faulty = world.faulty(delay=0.5, longest_delay=1.0)
    at_once = world.through(faulty)
    world.time += 0.5
    later = world.receive(faulty)
    world.time += 0.5
    last = world.receive(faulty)
    assert 100 < len(at_once) < 300
    assert len(later) > 50 < len(last)
    assert sorted(at_once + later + last) == SENT


def test_a_waiting_receive_returns_when_a_delayed_message_is_due() -> None:
    """A receive does not wait longer than until the next delayed message is due."""
    network = MemoryTransport()
    network.open_replies("queue")
    network.send("queue", "late")
    faulty = FaultyTransport(network, FaultRates(delay=1.0, longest_delay=0.2))
    assert [delivery.body for delivery in faulty.receive("queue", 60.0)] == ["late"]


def test_batches_are_reordered(world: World) -> None:
    """A reordered batch has all of its messages."""
    arrived = world.through(world.faulty(reorder=0.5))
    assert arrived != SENT
    assert sorted(arrived) == SENT


def test_corrupted_messages_are_truncated_and_recorded(world: World) -> None:
    """A truncated message counts as lost, because no receiver can read it."""
    faulty = world.faulty(corrupt=0.1)
    arrived = world.through(faulty)
    lost = [body for _, body in faulty.lost]
    assert sorted(arrived) == sorted([*(set(SENT) - set(lost)), *(body[:2] for body in lost)])
    assert len(lost) > 20


def test_a_throttled_request_does_nothing(world: World) -> None:
    """A throttled request raises Unreachable and sends nothing."""
    faulty = world.faulty(throttle=0.3)
    sent, messages = 0, set()
    for number in range(100):
        try:
            faulty.send("queue", str(number))
            sent += 1
        except Unreachable as error:
            messages.add(str(error))
    assert messages == {"queue: ThrottlingException: Rate exceeded"}
    assert 40 < sent == world.network.sent["queue"] < 90


def test_a_cut_queue_can_be_healed(world: World) -> None:
    """Other queues stay reachable, and messages sent before the cut are still there."""
    faulty = world.faulty()
    faulty.open_replies("other")
    faulty.send("queue", "hello")
    faulty.cut("queue")
    faulty.send("other", "hello")
    for use in (
        lambda: faulty.receive("queue", 0.0),
        lambda: faulty.send("queue", "x"),
        lambda: faulty.unread("queue"),
        lambda: faulty.unacknowledged("queue"),
    ):
        with pytest.raises(Unreachable, match="queue: unreachable"):
            use()
    faulty.cut()
    with pytest.raises(Unreachable):
        faulty.receive("other", 0.0)
    faulty.heal()
    assert world.receive(faulty) == ["hello"]


def test_the_seed_determines_the_faults(world: World) -> None:
    """The same seed gives the same faults of a queue, whatever happens to other queues."""
    rates = {"drop": 0.1, "duplicate": 0.1, "reorder": 0.2}

    def lost(seed: int, disturbed: bool = False) -> list[str]:
        world = World()
        faulty = world.faulty(seed, **rates)
        if disturbed:
            faulty.open_replies("other")
            faulty.send("other", "x")
            faulty.receive("other", 0.0)
        world.through(faulty)
        return [body for where, body in faulty.lost if where == "queue"]

    assert lost(1) == lost(1) == lost(1, disturbed=True) != lost(2)
