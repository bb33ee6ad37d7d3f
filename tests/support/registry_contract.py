"""The contract that every registry must meet.

A test module defines the fixtures `registry` and `identity` (a unique name), and imports these tests.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from collective.node.service.registration import Registration
from collective.registry import NodeRecord, PrunableNodes, Registry

__all__ = [
    "test_a_heartbeat_changes_only_last_seen",
    "test_a_heartbeat_of_another_instance_writes_nothing",
    "test_a_new_record_replaces_the_old_one",
    "test_a_node_that_was_seen_again_is_not_removed",
    "test_a_record_is_read_as_it_was_written",
    "test_a_removed_node_is_gone",
    "test_a_removed_node_registers_again",
    "test_a_stopped_node_is_not_alive_until_it_is_back",
    "test_leave_of_an_earlier_instance_is_ignored",
    "test_two_machines_with_one_identity_are_detected",
]


class Whole(Registry, PrunableNodes, Protocol):
    """A registry with the methods for nodes, callers and pruning."""


def record(identity: str, **changes: object) -> NodeRecord:
    plain = NodeRecord(
        identity=identity,
        version="1.0",
        facts={
            "role": "web",
            "os": {"family": "Debian"},
            "cores": 8,
            "load": 1.5,
            "virtual": True,
            "tags": ["a", None],
        },
        classes=("apache", "role::web"),
        agents={"package": "1.0"},
        refused={"odd": "odd.py: no DDL"},
        period=60.0,
        instance="one",
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def find(registry: Registry, identity: str) -> NodeRecord:
    [found] = [one for one in registry.read().records if one.identity == identity]
    return found


def test_a_record_is_read_as_it_was_written(registry: Registry, identity: str) -> None:
    """Types and nesting of facts are preserved; the node was seen now and is alive."""
    registry.put(record(identity))
    found = find(registry, identity)
    assert replace(found, last_seen=0.0) == record(identity)
    assert abs(found.last_seen - registry.now()) < 5
    assert found.alive(registry.now())


def test_a_new_record_replaces_the_old_one(registry: Registry, identity: str) -> None:
    """The registry has one record per identity."""
    registry.put(record(identity))
    registry.put(record(identity, facts={"role": "db"}, classes=()))
    assert find(registry, identity).facts == {"role": "db"}
    assert find(registry, identity).classes == ()


def test_a_heartbeat_changes_only_last_seen(registry: Registry, identity: str) -> None:
    """A heartbeat changes only the time of the record, and returns the node's own instance."""
    registry.put(record(identity))
    before = find(registry, identity)
    assert registry.heartbeat(identity, "one") == "one"
    after = find(registry, identity)
    assert after.last_seen >= before.last_seen
    assert replace(after, last_seen=before.last_seen) == before


def test_a_heartbeat_of_another_instance_writes_nothing(registry: Registry, identity: str) -> None:
    """A heartbeat returns the instance in the registry, and None for an unknown node."""
    assert registry.heartbeat(identity, "one") is None
    assert [one for one in registry.read().records if one.identity == identity] == []
    registry.put(record(identity))
    before = find(registry, identity)
    assert registry.heartbeat(identity, "two") == "one"
    assert find(registry, identity) == before


def test_a_stopped_node_is_not_alive_until_it_is_back(registry: Registry, identity: str) -> None:
    """A node that has left is not alive, and is alive after it has registered again."""
    registry.put(record(identity))
    registry.leave(identity, "one")
    gone = find(registry, identity)
    assert gone.left is not None
    assert not gone.alive(registry.now())
    registry.put(record(identity))
    assert find(registry, identity).alive(registry.now())


def test_leave_of_an_earlier_instance_is_ignored(registry: Registry, identity: str) -> None:
    """A replaced machine may stop after the new one has started, which stays alive."""
    registry.put(record(identity))
    registry.put(record(identity, instance="two"))
    registry.leave(identity, "one")
    assert find(registry, identity).alive(registry.now())


def test_two_machines_with_one_identity_are_detected(registry: Registry, identity: str) -> None:
    """From the second heartbeat on both mark the record, and callers can see it."""
    machines = [Registration(registry, lambda: record(identity), period=60.0) for _ in range(2)]
    for machine in machines:
        machine.publish()
    assert not find(registry, identity).is_contested(registry.now())
    for machine in machines:
        machine.publish()
        assert find(registry, identity).is_contested(registry.now())


def test_a_removed_node_is_gone(registry: Whole, identity: str) -> None:
    """Removing a node also removes its identity, and a later `leave` does not restore it."""
    registry.put(record(identity))
    assert identity in registry.identities()
    assert registry.remove(find(registry, identity))
    registry.leave(identity, "one")
    assert identity not in registry.identities()
    assert not registry.remove(record(identity))


def test_a_node_that_was_seen_again_is_not_removed(registry: Whole, identity: str) -> None:
    """A heartbeat or a restart after the record was read prevents its removal."""
    registry.put(record(identity))
    before_heartbeat = find(registry, identity)
    registry.heartbeat(identity, "one")
    assert not registry.remove(before_heartbeat)
    before_start = find(registry, identity)
    registry.put(record(identity, instance="two"))
    assert not registry.remove(before_start)
    assert find(registry, identity).instance == "two"


def test_a_removed_node_registers_again(registry: Whole, identity: str) -> None:
    """A restart is not a second machine, and a removed node writes its whole record at its next heartbeat."""
    first = Registration(registry, lambda: record(identity), period=60.0)
    first.publish()
    second = Registration(registry, lambda: record(identity), period=60.0)
    second.publish()
    second.publish()
    assert not find(registry, identity).is_contested(registry.now())
    registry.remove(find(registry, identity))
    second.publish()
    assert find(registry, identity).alive(registry.now())
