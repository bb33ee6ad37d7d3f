"""Events of EC2 mark terminated nodes in the registry; watchers then report them as failed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from support.membership import PERIOD, WatchedRegistry

from collective.membership.ec2_events import Terminations, terminated_instance
from collective.registry import NodeRecord
from collective.registry.memory import MemoryRegistry
from collective.transport.memory import MemoryTransport

QUEUE = "test_ec2"
INSTANCE = "i-0123456789abcdef0"


def event(instance: Any = INSTANCE, state: Any = "terminated", **changes: Any) -> str:
    """Return the body that EventBridge sends: EC2 user guide, "Instance state-change notification"."""
    document = {
        "version": "0",
        "id": "7bf73129-1428-4cd3-a780-95db273d1602",
        "detail-type": "EC2 Instance State-change Notification",
        "source": "aws.ec2",
        "account": "123456789012",
        "time": "2026-11-28T02:00:00Z",
        "region": "eu-central-1",
        "resources": [f"arn:aws:ec2:eu-central-1:123456789012:instance/{instance}"],
        "detail": {"instance-id": instance, "state": state},
    }
    return json.dumps(document | changes)


class WatchedInstances(WatchedRegistry):
    """A registry, a watcher, and a queue of events."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.transport = MemoryTransport(self.clock)
        self.transport.open_replies(QUEUE)
        self.woken: list[bool] = []
        self.terminations = Terminations(self.transport, QUEUE, self.registry, lambda: self.woken.append(True))

    def node(self, identity: str, instance: str = INSTANCE) -> None:
        """Register a node on an instance."""
        self.put(identity, facts={"ec2": {"instance_id": instance}})

    def receive(self, *bodies: str) -> int:
        """Take events."""
        for body in bodies:
            self.transport.send(QUEUE, body)
        return self.terminations.take()


@pytest.fixture
def world() -> Iterator[WatchedInstances]:
    with closing(WatchedInstances()) as world:
        yield world


def test_a_terminated_instance_is_failed_at_once(world: WatchedInstances) -> None:
    """No heartbeat is waited for, and no other node is touched."""
    world.node("a")
    world.node("b", "i-1")
    world.put(INSTANCE)
    world.step()
    assert world.receive(event()) == 1
    assert world.woken == [True]
    events = world.events()
    assert [(one.kind, one.member.identity) for one in events] == [("failed", "a"), ("failed", INSTANCE)]
    assert events[0].reason == "its EC2 instance is terminated"
    assert world.transport.unacknowledged(QUEUE) == 0
    assert world.step(1000) == []


def test_a_failure_by_termination_does_not_settle() -> None:
    """Failures are reported without the delay of other changes."""
    with closing(WatchedInstances(settle=30.0)) as world:
        world.node("a")
        world.step()
        world.receive(event())
        assert world.step() == ["failed a"]


def test_a_replacement_joins(world: WatchedInstances) -> None:
    """A later machine with the identity is a new record; a late event of its predecessor does not concern it."""
    world.node("a")
    world.step()
    world.receive(event())
    world.step()
    world.clock.time += 5
    world.node("a", "i-2")
    assert world.step(1) == ["join a"]
    world.receive(event())
    assert world.step(1) == []


def test_a_heartbeat_refutes_an_invented_event(world: WatchedInstances) -> None:
    """A node that is alive joins again with its next heartbeat, and is not gone for prune."""
    world.node("a")
    world.step()
    world.receive(event())
    assert world.step() == ["failed a"]
    [record] = world.registry.nodes()
    assert record.is_terminated
    world.clock.time += PERIOD
    world.registry.heartbeat("a", "1")
    assert world.step() == ["join a"]
    [record] = world.registry.nodes()
    assert not record.is_terminated
    assert record.alive(world.clock.time)


def test_a_node_that_has_left_stays_left(world: WatchedInstances) -> None:
    """A clean stop before the termination is a leave, and the only event."""
    world.node("a")
    world.step()
    world.registry.leave("a", "1")
    world.receive(event())
    assert world.step(1) == ["leave a"]
    assert world.step(1) == []


def test_a_terminated_node_does_not_join(world: WatchedInstances) -> None:
    """A watcher that begins after the termination does not report the node."""
    world.node("a")
    world.receive(event())
    assert world.step() == []


def test_what_is_no_event_of_ec2_is_dropped(world: WatchedInstances, caplog: pytest.LogCaptureFixture) -> None:
    """Anything else in the queue is acknowledged, and named once."""
    world.node("a")
    world.step()
    bodies = ["", "null", "[" * 5000, event(source="my.app"), event(instance=7), event(detail=[]), "x" * 200_000]
    assert world.receive(*bodies) == len(bodies)
    assert world.transport.unacknowledged(QUEUE) == 0
    assert world.step() == []
    assert [record.message for record in caplog.records] == ["ec2.invalid"]


@pytest.mark.parametrize("state", ["pending", "running", "stopping", "stopped", "shutting-down"])
def test_other_states_are_ignored(state: str) -> None:
    """An instance that is stopped may be started again."""
    assert terminated_instance(event(state=state)) is None


def test_odd_facts_are_no_instances() -> None:
    """Facts are written by nodes: any JSON."""
    registry, transport = MemoryRegistry(), MemoryTransport()
    transport.open_replies(QUEUE)
    odd: list[Any] = [None, [], {"instance_id": 7}, {"instance_id": [INSTANCE]}, INSTANCE]
    for number, ec2 in enumerate(odd):
        registry.put(NodeRecord(f"n{number}", "1", facts={"ec2": ec2}))
    transport.send(QUEUE, event())
    Terminations(transport, QUEUE, registry).take()
    assert not any(record.is_terminated for record in registry.nodes())
