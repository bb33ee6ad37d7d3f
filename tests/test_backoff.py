"""Pauses: a fleet that does one thing at once must not go on in step."""

from __future__ import annotations

import heapq
from collections import Counter
from random import Random

import pytest

from collective.node.backoff import LONGEST, Draw, Rhythm, backoff

NODES = 1000
PER_SECOND = 100  # Service endpoints and quotas: Subscribe, of an account in a region


def seconds_until_all_are_in(draw: Draw) -> float:
    """Reckon: a fleet starts at once, and whom the service refuses in one second tries again after a pause."""
    served: Counter[int] = Counter()
    tries = [(0.0, node) for node in range(NODES)]
    waits = [backoff(draw) for _ in range(NODES)]
    last = 0.0
    while tries:
        now, node = heapq.heappop(tries)
        if served[int(now)] < PER_SECOND:
            served[int(now)] += 1
            last = now
        else:
            heapq.heappush(tries, (now + next(waits[node]), node))
    return last


def test_a_fleet_that_starts_at_once_is_in_within_half_a_minute() -> None:
    """A thousand nodes, a hundred a second; without drawing they would knock together, and take two minutes."""
    drawn = seconds_until_all_are_in(Random(1).random)  # noqa: S311 - no secrets here
    assert drawn < 30
    assert seconds_until_all_are_in(lambda: 1.0) > 120


@pytest.mark.parametrize("draw", [0.0, 0.5, 0.999])
def test_pauses_grow_up_to_half_a_minute(draw: float) -> None:
    """Each is drawn from the upper half of twice the one before: never shorter, never none."""
    some = backoff(lambda: draw)
    first = [next(some) for _ in range(9)]
    assert first == sorted(first)
    assert 0.5 <= first[0] < 1
    assert LONGEST / 2 <= first[-1] <= LONGEST


def test_the_first_heartbeat_comes_anywhere_in_a_period_and_the_others_a_period_apart() -> None:
    """So machines that were started together are spread over it, and cost no more."""
    rhythm = Rhythm(300.0, lambda: 0.25)
    assert [rhythm.after(True) for _ in range(3)] == [75.0, 300.0, 300.0]


def test_what_failed_is_tried_again_soon() -> None:
    """With growing pauses, and never later than it would have come anyway; then the rhythm goes on."""
    rhythm = Rhythm(3.0, lambda: 0.0)
    assert [rhythm.after(False) for _ in range(4)] == [0.5, 1.0, 2.0, 3.0]
    rhythm.after(True)
    assert rhythm.after(True) == 3.0
    assert rhythm.after(False) == 0.5
