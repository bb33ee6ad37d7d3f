"""The registry in memory keeps the contract of all registries; and when a node counts as alive."""

from __future__ import annotations

import pytest
from registry_contract import *  # noqa: F403 - the contract's tests

from collective.registry import NodeRecord
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
