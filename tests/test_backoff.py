"""Random pauses: nodes that start together must not keep sending at the same moments."""

from __future__ import annotations

import heapq
from collections import Counter
from random import Random

import pytest

from collective.node.backoff import LONGEST, Draw, Rhythm, backoff

NODES = 1000
PER_SECOND = 100  # Service endpoints and quotas: Subscribe, of an account in a region


def seconds_until_all_are_subscribed(draw: Draw) -> float:
    """Simulate nodes that start together; those that the service refuses in one second retry after a pause."""
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


def test_a_fleet_that_starts_together_is_subscribed_within_30_seconds() -> None:
    """1000 nodes at 100 subscriptions a second; without random pauses it takes two minutes."""
    drawn = seconds_until_all_are_subscribed(Random(1).random)  # noqa: S311 - no secrets here
    assert drawn < 30
    assert seconds_until_all_are_subscribed(lambda: 1.0) > 120


@pytest.mark.parametrize("draw", [0.0, 0.5, 0.999])
def test_pauses_grow_up_to_30_seconds(draw: float) -> None:
    """Each pause is drawn from the upper half of twice the one before, so it is never shorter."""
    some = backoff(lambda: draw)
    first = [next(some) for _ in range(9)]
    assert first == sorted(first)
    assert 0.5 <= first[0] < 1
    assert LONGEST / 2 <= first[-1] <= LONGEST


def test_only_the_first_heartbeat_is_drawn_from_the_whole_period() -> None:
    """Nodes that were started together spread over the period, and later heartbeats are one period apart."""
    rhythm = Rhythm(300.0, lambda: 0.25)
    assert [rhythm.after(True) for _ in range(3)] == [75.0, 300.0, 300.0]


def test_a_failed_heartbeat_is_retried_soon() -> None:
    """Retries have growing pauses, but never longer than the period; after a success the period applies again."""
    rhythm = Rhythm(3.0, lambda: 0.0)
    assert [rhythm.after(False) for _ in range(4)] == [0.5, 1.0, 2.0, 3.0]
    rhythm.after(True)
    assert rhythm.after(True) == 3.0
    assert rhythm.after(False) == 0.5
