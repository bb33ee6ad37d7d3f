"""The in-memory registry meets the registry contract; when a node is alive; the cache."""

from __future__ import annotations

import pytest
from support.registry_contract import *  # noqa: F403 - the contract's tests

from collective.registry import NodeRecord
from collective.registry.cached import CachedNodes
from collective.registry.memory import MemoryRegistry


@pytest.fixture
def registry() -> MemoryRegistry:
    """Return a new registry."""
    return MemoryRegistry()


@pytest.fixture
def identity() -> str:
    """Return an identity."""
    return "web1.my.net"


@pytest.mark.parametrize(("age", "alive"), [(0, True), (180, True), (181, False)])
def test_a_node_is_alive_for_three_periods(age: float, alive: bool) -> None:
    """A node seen exactly three periods ago is alive."""
    record = NodeRecord("web1", "1.0", period=60.0, last_seen=1000.0)
    assert record.alive(1000.0 + age) is alive


def test_the_registry_is_cached(registry: MemoryRegistry) -> None:
    """The cache serves several calls, until it is too old."""
    now = [0.0]
    cached = CachedNodes(registry, seconds=5.0, clock=lambda: now[0])
    registry.put(NodeRecord("web1", "1.0"))
    assert len(cached.read().records) == 1
    registry.put(NodeRecord("web2", "1.0"))
    now[0] = 5.0
    assert len(cached.read().records) == 1
    now[0] = 5.1
    assert len(cached.read().records) == 2
