"""The in-memory transport meets the transport contract."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from support.transport_contract import *  # noqa: F403 - the contract's tests
from support.transport_contract import queue, topic  # noqa: F401 - its fixtures

from collective.transport.memory import MemoryTransport


@pytest.fixture
def transport() -> MemoryTransport:
    """Return a new network."""
    return MemoryTransport()


@pytest.fixture
def names() -> Callable[[str], str]:
    """Return a function that makes unique names."""
    counter = itertools.count()
    return lambda stem: f"{stem}-{next(counter)}"


def test_an_unacknowledged_message_is_visible_again() -> None:
    """A received message that is not acknowledged is visible again after the visibility timeout."""
    now = [1000.0]
    network = MemoryTransport(clock=lambda: now[0])
    network.open_replies("replies")
    network.send("replies", "again")
    assert len(network.receive("replies", 0.0)) == 1
    assert network.receive("replies", 0.0) == []
    now[0] += 2.0
    assert len(network.receive("replies", 0.0)) == 1
