"""A registry that is read before its contents are needed."""

from __future__ import annotations

import threading

import pytest

from collective.errors import Unreachable
from collective.registry import Contents, NodeRecord
from collective.registry.early import EarlyNodes


class SlowNodes:
    """A registry that answers when it may; `reads` are the threads that have read."""

    def __init__(self, error: Exception | None = None) -> None:
        self.may_answer = threading.Event()
        self.reads: list[str] = []
        self._error = error

    def now(self) -> float:
        """Return the time."""
        return 7.0

    def read(self) -> Contents:
        """Return one node."""
        self.reads.append(threading.current_thread().name)
        assert self.may_answer.wait(30)
        if self._error:
            raise self._error
        return Contents([NodeRecord("web1", "1")])


def test_the_first_read_waits_for_what_has_begun() -> None:
    """One request is made in another thread, and the next ones where they are asked for."""
    slow = SlowNodes()
    nodes = EarlyNodes(slow)
    nodes.begin()
    slow.may_answer.set()
    assert [record.identity for record in nodes.read().records] == ["web1"]
    assert slow.reads == ["registry"]
    assert nodes.now() == 7.0
    nodes.read()
    assert slow.reads == ["registry", threading.current_thread().name]


def test_an_error_is_raised_where_it_is_asked_for() -> None:
    """The second read tries again."""
    slow = SlowNodes(Unreachable("cut"))
    nodes = EarlyNodes(slow)
    nodes.begin()
    slow.may_answer.set()
    for _ in range(2):
        with pytest.raises(Unreachable):
            nodes.read()
    assert len(slow.reads) == 2
