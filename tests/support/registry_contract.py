"""What every registry must do.

A test module makes the fixtures `registry` and `identity` (a name that no other test has), and takes these tests over.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from collective.node.service.registration import Registration
from collective.registry import NodeRecord, PrunableNodes, Registry

__all__ = [
    "test_a_farewell_is_remembered_until_the_node_is_back",
    "test_a_heartbeat_moves_last_seen_and_nothing_else",
    "test_a_node_is_found_as_it_was_put",
    "test_a_node_that_was_seen_again_is_not_removed",
    "test_a_removed_node_is_gone",
    "test_a_removed_node_publishes_itself_again",
    "test_another_instance_is_told_apart",
    "test_the_farewell_of_an_earlier_instance_is_not_that_of_the_next",
    "test_two_machines_of_one_name_notice",
    "test_what_was_put_again_replaces_it",
]


class Whole(Registry, PrunableNodes, Protocol):
    """A registry with all that anybody asks of it."""


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
    [found] = [one for one in registry.nodes() if one.identity == identity]
    return found


def test_a_node_is_found_as_it_was_put(registry: Registry, identity: str) -> None:
    """Types and nesting of facts are kept; it was seen now, and is alive."""
    registry.put(record(identity))
    found = find(registry, identity)
    assert replace(found, last_seen=0.0) == record(identity)
    assert abs(found.last_seen - registry.now()) < 5
    assert found.alive(registry.now())


def test_what_was_put_again_replaces_it(registry: Registry, identity: str) -> None:
    """There is one record for one name."""
    registry.put(record(identity))
    registry.put(record(identity, facts={"role": "db"}, classes=()))
    assert find(registry, identity).facts == {"role": "db"}
    assert find(registry, identity).classes == ()


def test_a_heartbeat_moves_last_seen_and_nothing_else(registry: Registry, identity: str) -> None:
    """Its instance is the one that is known."""
    registry.put(record(identity))
    before = find(registry, identity)
    assert registry.heartbeat(identity, "one") == "one"
    after = find(registry, identity)
    assert after.last_seen >= before.last_seen
    assert replace(after, last_seen=before.last_seen) == before


def test_another_instance_is_told_apart(registry: Registry, identity: str) -> None:
    """A heartbeat of another instance writes nothing and names the one that is there; of nobody, None."""
    assert registry.heartbeat(identity, "one") is None
    assert [one for one in registry.nodes() if one.identity == identity] == []
    registry.put(record(identity))
    before = find(registry, identity)
    assert registry.heartbeat(identity, "two") == "one"
    assert find(registry, identity) == before


def test_a_farewell_is_remembered_until_the_node_is_back(registry: Registry, identity: str) -> None:
    """Who has left is not alive; who comes back is."""
    registry.put(record(identity))
    registry.leave(identity, "one")
    gone = find(registry, identity)
    assert gone.left is not None
    assert not gone.alive(registry.now())
    registry.put(record(identity))
    assert find(registry, identity).alive(registry.now())


def test_the_farewell_of_an_earlier_instance_is_not_that_of_the_next(registry: Registry, identity: str) -> None:
    """A machine that is replaced may stop after the new one has started: that one is alive, and stays so."""
    registry.put(record(identity))
    registry.put(record(identity, instance="two"))
    registry.leave(identity, "one")
    assert find(registry, identity).alive(registry.now())


def test_two_machines_of_one_name_notice(registry: Registry, identity: str) -> None:
    """From the second round on both mark the record, and callers can see it."""
    machines = [Registration(registry, lambda: record(identity), period=60.0) for _ in range(2)]
    for machine in machines:
        machine.publish()
    assert not find(registry, identity).is_contested(registry.now())
    for machine in machines:
        machine.publish()
        assert find(registry, identity).is_contested(registry.now())


def test_a_removed_node_is_gone(registry: Whole, identity: str) -> None:
    """With its name; when it says farewell afterwards, nothing of it comes back."""
    registry.put(record(identity))
    assert identity in registry.identities()
    assert registry.remove(find(registry, identity))
    registry.leave(identity, "one")
    assert identity not in registry.identities()
    assert not registry.remove(record(identity))


def test_a_node_that_was_seen_again_is_not_removed(registry: Whole, identity: str) -> None:
    """A heartbeat or a new start since it was looked at keeps it."""
    registry.put(record(identity))
    before_heartbeat = find(registry, identity)
    registry.heartbeat(identity, "one")
    assert not registry.remove(before_heartbeat)
    before_start = find(registry, identity)
    registry.put(record(identity, instance="two"))
    assert not registry.remove(before_start)
    assert find(registry, identity).instance == "two"


def test_a_removed_node_publishes_itself_again(registry: Whole, identity: str) -> None:
    """A restart is no second machine; and who is gone from the registry comes back whole with its next heartbeat."""
    first = Registration(registry, lambda: record(identity), period=60.0)
    first.publish()
    second = Registration(registry, lambda: record(identity), period=60.0)
    second.publish()
    second.publish()
    assert not find(registry, identity).is_contested(registry.now())
    registry.remove(find(registry, identity))
    second.publish()
    assert find(registry, identity).alive(registry.now())
