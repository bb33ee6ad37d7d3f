"""Lanes: agents share a node's places, and a slow one does not starve the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from collective.errors import Failed
from collective.node.requests.fair_queue import FairQueue, share
from collective.testing.simulation import InlinePool

Make = Callable[..., FairQueue]


class Steps:
    """Steps that wait until they are let go, one by one; `running` are the lanes of those that have begun."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self._changed = threading.Condition()
        self._let_go: set[int] = set()

    def step(self, lane: str) -> Callable[[], None]:
        """Return a step of a lane."""

        def run() -> None:
            with self._changed:
                number = len(self.running)
                self.running.append(lane)
                self._changed.notify_all()
                assert self._changed.wait_for(lambda: number in self._let_go, 20)

        return run

    def begun(self, count: int) -> list[str]:
        """Wait until so many have begun, and return their lanes in that order."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.running) >= count, 20), self.running
            return list(self.running)

    def let_go(self, *numbers: int) -> None:
        """End those that were the first, second … to begin."""
        with self._changed:
            self._let_go.update(numbers)
            self._changed.notify_all()


@pytest.fixture
def steps() -> Iterator[Steps]:
    """Whatever has begun is let go at the end."""
    steps = Steps()
    yield steps
    steps.let_go(*range(100))


@pytest.fixture
def make(steps: Steps) -> Iterator[Make]:
    """Make lanes over real threads."""
    pools: list[ThreadPoolExecutor] = []

    def lanes(places: int, waiting: int, **limits: int) -> FairQueue:
        pools.append(ThreadPoolExecutor(places))
        return FairQueue(pools[-1], places, waiting, limits)

    yield lanes
    steps.let_go(*range(100))
    for pool in pools:
        pool.shutdown()


def test_one_lane_leaves_places_for_others(make: Make, steps: Steps) -> None:
    """However much of one agent there is, another begins at once."""
    lanes = make(4, 8)
    for _ in range(5):
        lanes.enter("slow", steps.step("slow"))
    assert steps.begun(3) == ["slow"] * 3
    lanes.enter("quick", steps.step("quick"))
    assert steps.begun(4) == ["slow"] * 3 + ["quick"]


def test_a_limit_is_kept_and_its_next_step_follows(make: Make, steps: Steps) -> None:
    """A second installation waits for the first, and others do not wait for either."""
    lanes = make(4, 8, package=1)
    for lane in ("package", "package", "shell"):
        lanes.enter(lane, steps.step(lane))
    assert sorted(steps.begun(2)) == ["package", "shell"]
    steps.let_go(steps.running.index("package"))
    assert steps.begun(3)[2] == "package"


def test_a_limit_may_be_all_there_is(make: Make, steps: Steps) -> None:
    """Who says so lets one agent have every place, but no more."""
    lanes = make(2, 8, package=5)
    for _ in range(3):
        lanes.enter("package", steps.step("package"))
    assert steps.begun(2) == ["package", "package"]
    steps.let_go(0)
    steps.begun(3)


def test_beyond_its_room_a_lane_is_busy_and_others_are_not(make: Make, steps: Steps) -> None:
    """Three quarters of what may wait are the most for one lane; the rest is for others, and then it is full."""
    lanes = make(1, 4)
    for _ in range(4):
        assert lanes.enter("a", steps.step("a"))
    with pytest.raises(Failed, match="3 requests wait, 3 of them for 'a': try again later") as caught:
        lanes.enter("a", steps.step("a"))
    assert caught.value.reason == "busy"
    lanes.enter("b", steps.step("b"))
    with pytest.raises(Failed, match="4 requests wait, 0 of them for 'c'"):
        lanes.enter("c", steps.step("c"))


def test_closed_lanes_begin_nothing(make: Make, steps: Steps) -> None:
    """What waits is dropped and counted, and so is what comes later; what runs goes on."""
    lanes = make(1, 4)
    for _ in range(3):
        lanes.enter("a", steps.step("a"))
    steps.begun(1)
    assert lanes.close() == 2
    assert not lanes.enter("a", steps.step("a"))
    steps.let_go(0)
    assert steps.running == ["a"]


def test_a_step_that_fails_gives_its_place_back() -> None:
    """The next one runs."""
    lanes = FairQueue(InlinePool(), 1, 1, {})
    ran: list[str] = []

    def fail() -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        lanes.enter("a", fail)
    lanes.enter("a", lambda: ran.append("a"))
    assert ran == ["a"]


@pytest.mark.parametrize(("total", "part"), [(1, 1), (2, 1), (4, 3), (10, 7), (100, 75)])
def test_a_share_is_three_quarters(total: int, part: int) -> None:
    """Never nothing."""
    assert share(total) == part
