"""The registry in memory keeps the contract of all registries; and when a node counts as alive."""

from __future__ import annotations

import pytest
from support.registry_contract import *  # noqa: F403 - the contract's tests

from collective.registry import NodeRecord
from collective.registry.cached import CachedNodes
from collective.registry.memory import MemoryRegistry


@pytest.fixture
def registry() -> MemoryRegistry:
    """A registry of its own for each test."""
    return MemoryRegistry()


@pytest.fixture
def identity() -> str:
    """Any name will do."""
    return "web1.my.net"


@pytest.mark.parametrize(("age", "alive"), [(0, True), (180, True), (181, False)])
def test_a_node_is_alive_for_three_periods(age: float, alive: bool) -> None:
    """Exactly three are still enough."""
    record = NodeRecord("web1", "1.0", period=60.0, last_seen=1000.0)
    assert record.alive(1000.0 + age) is alive


def test_what_was_read_is_kept_for_seconds(registry: MemoryRegistry) -> None:
    """One reading serves several calls, until it is too old."""
    now = [0.0]
    cached = CachedNodes(registry, seconds=5.0, clock=lambda: now[0])
    registry.put(NodeRecord("web1", "1.0"))
    assert len(cached.nodes()) == 1
    registry.put(NodeRecord("web2", "1.0"))
    now[0] = 5.0
    assert len(cached.nodes()) == 1
    now[0] = 5.1
    assert len(cached.nodes()) == 2
