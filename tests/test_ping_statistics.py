"""Percentiles, histogram and outliers of round-trip times."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collective.clients.render.ping_statistics import Bucket, histogram, histogram_lines, percentile, slow, summary


def test_percentiles_are_times_that_were_measured() -> None:
    """A percentile is the smallest time that is not exceeded by that part of the times."""
    times = [float(number) for number in range(1, 101)]
    assert [percentile(times, percent) for percent in (50, 90, 99, 100)] == [50, 90, 99, 100]
    assert percentile([7.0], 99) == 7.0
    assert summary([3.0, 1.0]) == {
        "min": 1.0,
        "max": 3.0,
        "average": 2.0,
        "p50": 1.0,
        "p90": 3.0,
        "p95": 3.0,
        "p99": 3.0,
    }


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([], []),
        ([0.2], [Bucket(0, 1, 1)]),
        ([1.0], [Bucket(1, 2, 1)]),
        ([15.0, 19.9, 60.0], [Bucket(10, 20, 2), Bucket(20, 50, 0), Bucket(50, 100, 1)]),
        ([-3.0, 3.0], [Bucket(0, 1, 0), Bucket(1, 2, 0), Bucket(2, 5, 1)]),
    ],
)
def test_the_histogram_has_adjacent_ranges(times: list[float], expected: list[Bucket]) -> None:
    """The ranges are from 1, 2, 5, 10 …; empty ones between others are kept."""
    assert histogram(times) == expected


@given(st.lists(st.floats(0, 1e7), min_size=1, max_size=50))
def test_every_time_is_in_one_range(times: list[float]) -> None:
    """No time is lost or counted twice."""
    buckets = histogram(times)
    assert sum(bucket.nodes for bucket in buckets) == len(times)
    assert all(first.end == second.start for first, second in pairwise(buckets))
    assert buckets[0].start <= min(times)
    assert buckets[-1].end > max(times)


def test_the_longest_bar_fits_and_the_shortest_is_seen() -> None:
    """A range with one of a thousand nodes still has a bar."""
    assert histogram_lines([15.0] * 999 + [60.0]) == [
        f"     10 to     20 ms    999  {'#' * 40}",
        "     20 to     50 ms      0",
        "     50 to    100 ms      1  #",
    ]


def test_outliers_are_named_the_slowest_first() -> None:
    """A node is slow compared to others: fewer than four nodes and equal times have no outliers."""
    times = {f"web{number}": 100.0 + number for number in range(20)}
    assert slow(times) == []
    assert slow({**times, "web98": 300.0, "web99": 900.0}) == ["web99", "web98"]
    assert slow({"a": 1.0, "b": 1.0, "c": 900.0}) == []
    assert slow(dict.fromkeys("abcdef", 5.0)) == []


def test_a_slow_node_among_few_is_found() -> None:
    """One of five nodes that takes ninety times as long is slow; a millisecond more than all others is not."""
    times = {"a": 10.0, "b": 11.0, "c": 12.0, "d": 13.0, "e": 900.0}
    assert slow(times) == ["e"]
    assert slow({**dict.fromkeys("abcdefg", 100.0), "h": 101.0}) == []
