"""Several threads drain a reply queue, without polls that find nothing."""

from __future__ import annotations

import threading
import time

import pytest

from collective.errors import Unreachable
from collective.fleet.receivers import Receivers
from collective.transport import BATCH, Delivery


class FullQueue:
    """Messages that are there from the beginning; a receive takes `seconds`. `polls` are the numbers of messages."""

    def __init__(self, count: int, seconds: float = 0.0) -> None:
        self.left = [Delivery(str(number), 0.0, 0.0, str(number)) for number in range(count)]
        self.seconds = seconds
        self.polls: list[int] = []
        self.threads: set[str] = set()
        self._lock = threading.Lock()
        self._never = threading.Event()

    def receive(self, wait: float) -> list[Delivery]:
        """Return up to ten messages; an empty queue is waited for."""
        with self._lock:
            taken, self.left = self.left[:BATCH], self.left[BATCH:]
            self.polls.append(len(taken))
            self.threads.add(str(threading.get_ident()))
        self._never.wait(self.seconds if taken else min(wait, 0.2))
        return taken


def drained(queue: FullQueue, count: int, most: int) -> list[str]:
    """Return the bodies of all messages of a queue."""
    receivers = Receivers(queue.receive, most)
    found: list[str] = []
    while len(found) < count:
        found += [delivery.body for delivery in receivers.take(5.0, count - len(found))]
    receivers.close()
    return found


def test_a_full_queue_is_drained_by_several_threads() -> None:
    """Each message is received once, with few polls that find nothing."""
    queue = FullQueue(1000, seconds=0.01)
    found = drained(queue, 1000, most=8)
    assert sorted(map(int, found)) == list(range(1000))
    assert len(queue.threads) > 4
    assert queue.polls.count(0) == 0


def test_no_poll_is_open_when_all_replies_are_in() -> None:
    """An open poll could take the first reply of the next call."""
    queue = FullQueue(95)
    drained(queue, 95, most=8)
    assert sum(queue.polls) == 95
    assert queue.polls.count(0) == 0


def test_an_empty_queue_is_polled_by_one_thread() -> None:
    """Until replies arrive, only the leader asks."""
    queue = FullQueue(0)
    receivers = Receivers(queue.receive, 8)
    assert receivers.take(0.1, 500) == []
    assert len(queue.polls) == 1
    receivers.close()


def test_an_error_is_raised_where_replies_are_taken() -> None:
    """The threads wait until the caller has handled it."""
    calls: list[float] = []

    def receive(wait: float) -> list[Delivery]:
        calls.append(wait)
        raise Unreachable("cut")

    receivers = Receivers(receive, 4)
    for number in range(1, 3):
        with pytest.raises(Unreachable):
            receivers.take(5.0, 100)
        assert len(calls) <= number + 1
    receivers.close()


def test_the_wait_ends() -> None:
    """Without replies, `take` returns after its wait."""
    queue = FullQueue(0)
    receivers = Receivers(queue.receive, 2)
    began = time.monotonic()
    assert receivers.take(0.05, 30) == []
    assert time.monotonic() - began < 20
    receivers.close()


def test_only_a_long_poll_shows_that_a_queue_is_empty() -> None:
    """A short poll asks only some servers of SQS; `take` ends as soon as a long one has found nothing."""
    receivers = Receivers(FullQueue(0).receive, 8)
    assert receivers.take(0.5, 500) == []
    before = receivers.empty
    began = time.monotonic()
    assert receivers.take(40.0, 500) == []
    assert (before, receivers.empty) == (False, True)
    assert time.monotonic() - began < 20
    receivers.close()
