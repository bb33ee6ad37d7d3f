"""Statistics of round-trip times: percentiles, a histogram, and the nodes that are much slower than the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean, quantiles

PERCENTILES = (50, 90, 95, 99)
_STEPS = (1, 2, 5)  # bounds of the histogram: 1, 2, 5, 10, 20, 50 … ms
_BAR = 40  # columns of the longest bar
_FEWEST = 4  # times that can have outliers


@dataclass(frozen=True)
class Bucket:
    """The number of times from `start` up to, but not including, `end`, in milliseconds."""

    start: float
    end: float
    nodes: int


def percentile(times: Sequence[float], percent: float) -> float:
    """Return the time that `percent` of the times do not exceed (nearest rank). There must be at least one."""
    return sorted(times)[max(0, math.ceil(percent / 100 * len(times)) - 1)]


def summary(times: Sequence[float]) -> dict[str, float]:
    """Return minimum, maximum, average and percentiles. There must be at least one time."""
    figures = {"min": min(times), "max": max(times), "average": round(mean(times), 3)}
    return figures | {f"p{percent}": percentile(times, percent) for percent in PERCENTILES}


def histogram(times: Sequence[float]) -> list[Bucket]:
    """Return adjacent buckets from the fastest to the slowest time; none without times."""
    bounds = _bounds(times) if times else []
    pairs = pairwise(bounds)
    return [Bucket(start, end, sum(start <= one < end for one in times)) for start, end in pairs]


def _bounds(times: Sequence[float]) -> list[float]:
    """Return the bounds: from the last one at or below the fastest time to the first one above the slowest."""
    last = math.ceil(math.log10(max(*times, 1.0))) + 1
    known = [0.0, *(step * 10.0**power for power in range(last) for step in _STEPS)]
    first = max(place for place, bound in enumerate(known) if bound <= max(min(times), 0.0))
    end = min(place for place, bound in enumerate(known) if bound > max(times))
    return known[first : end + 1]


def histogram_lines(times: Sequence[float]) -> list[str]:
    """Return the histogram as lines, each with its range, count and bar."""
    buckets = histogram(times)
    highest = max((bucket.nodes for bucket in buckets), default=1)
    lines = []
    for bucket in buckets:
        bar = "#" * math.ceil(_BAR * bucket.nodes / highest)
        lines.append(f"{bucket.start:>7g} to {bucket.end:>6g} ms {bucket.nodes:>6}  {bar}".rstrip())
    return lines


def slow(times: Mapping[str, float]) -> list[str]:
    """Return the nodes that are much slower than the others, the slowest first.

    Their times are above the third quartile by more than 1.5 times the distance between the quartiles (Tukey), and by
    more than a tenth of it: when all times are nearly equal, the differences mean nothing.
    """
    if len(times) < _FEWEST:
        return []
    first, _, third = quantiles(times.values(), n=4, method="inclusive")
    limit = third + max(1.5 * (third - first), third / 10)
    return sorted((name for name, time in times.items() if time > limit), key=lambda name: -times[name])
