"""The fair queue: agents share a node's threads, and a slow agent does not starve the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from collective.node.requests.fair_queue import FairQueue, share
from collective.node.requests.reasons import Reason, Refused
from collective.testing.simulation import InlinePool

Make = Callable[..., FairQueue]


class BlockingCalls:
    """Calls that block until they are released; `running` are the agents of those that have started, in order."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self._changed = threading.Condition()
        self._released: set[int] = set()

    def block(self, agent: str) -> None:
        """Start a call of an agent, and block until it is released."""
        with self._changed:
            number = len(self.running)
            self.running.append(agent)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: number in self._released, 20)

    def started(self, count: int) -> list[str]:
        """Wait until `count` calls have started, and return their agents in that order."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.running) >= count, 20), self.running
            return list(self.running)

    def release(self, *numbers: int) -> None:
        """End calls, which are numbered in the order of their start, from 0."""
        with self._changed:
            self._released.update(numbers)
            self._changed.notify_all()


@pytest.fixture
def calls() -> Iterator[BlockingCalls]:
    """Calls that are all released at the end of the test."""
    calls = BlockingCalls()
    yield calls
    calls.release(*range(100))


@pytest.fixture
def make(calls: BlockingCalls) -> Iterator[Make]:
    """Make queues over real threads."""
    pools: list[ThreadPoolExecutor] = []

    def fair_queue(places: int, waiting: int, **limits: int) -> FairQueue:
        pools.append(ThreadPoolExecutor(places))
        return FairQueue(pools[-1], places, waiting, limits)

    yield fair_queue
    calls.release(*range(100))
    for pool in pools:
        pool.shutdown()


def test_one_agent_leaves_places_for_others(make: Make, calls: BlockingCalls) -> None:
    """However many calls of one agent wait, a call of another agent starts at once."""
    queue = make(4, 8)
    for _ in range(5):
        queue.submit("slow", calls.block, "slow")
    assert calls.started(3) == ["slow"] * 3
    queue.submit("quick", calls.block, "quick")
    assert calls.started(4) == ["slow"] * 3 + ["quick"]


def test_an_agents_limit_is_kept_and_its_next_call_follows(make: Make, calls: BlockingCalls) -> None:
    """With a limit of one, a second installation waits for the first, and other agents wait for neither."""
    queue = make(4, 8, package=1)
    for agent in ("package", "package", "shell"):
        queue.submit(agent, calls.block, agent)
    assert sorted(calls.started(2)) == ["package", "shell"]
    calls.release(calls.running.index("package"))
    assert calls.started(3)[2] == "package"


def test_a_limit_may_give_one_agent_every_place(make: Make, calls: BlockingCalls) -> None:
    """A limit above the number of places lets one agent use all of them, but no more."""
    queue = make(2, 8, package=5)
    for _ in range(3):
        queue.submit("package", calls.block, "package")
    assert calls.started(2) == ["package", "package"]
    calls.release(0)
    calls.started(3)


def test_a_full_queue_is_busy_for_one_agent_before_it_is_for_others(make: Make, calls: BlockingCalls) -> None:
    """One agent may use three quarters of the waiting places; the rest is for others until the queue is full."""
    queue = make(1, 4)
    for _ in range(4):
        assert queue.submit("a", calls.block, "a")
    with pytest.raises(Refused, match=r"3 requests are waiting, 3 of them for 'a' \(try again later\)") as caught:
        queue.submit("a", calls.block, "a")
    assert caught.value.reason is Reason.BUSY
    queue.submit("b", calls.block, "b")
    with pytest.raises(Refused, match="4 requests are waiting, 0 of them for 'c'"):
        queue.submit("c", calls.block, "c")


def test_a_closed_queue_starts_nothing(make: Make, calls: BlockingCalls) -> None:
    """Waiting calls are dropped and counted, later ones are not accepted, and running ones go on."""
    queue = make(1, 4)
    for _ in range(3):
        queue.submit("a", calls.block, "a")
    calls.started(1)
    assert queue.close() == 2
    assert not queue.submit("a", calls.block, "a")
    calls.release(0)
    assert calls.running == ["a"]


def test_a_call_that_raises_frees_its_place() -> None:
    """After a call that raises, the next call runs in its place."""
    queue = FairQueue(InlinePool(), 1, 1, {})
    ran: list[str] = []

    def fail() -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        queue.submit("a", fail)
    queue.submit("a", ran.append, "a")
    assert ran == ["a"]


@pytest.mark.parametrize(("total", "part"), [(1, 1), (2, 1), (4, 3), (10, 7), (100, 75)])
def test_an_agents_share_is_three_quarters(total: int, part: int) -> None:
    """One agent gets three quarters of all places, and at least one."""
    assert share(total) == part
