"""How long AWS takes for a request: a model with a fixed seed, so that each run has the same delays.

The medians and 99th percentiles are those of one region, measured from EC2. Between them the distribution is taken
to be log-normal, as latencies of services usually are. The time to connect and for TLS is not modelled.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

_Z99 = 2.326  # of the normal distribution: 99 % are below it
# Median and 99th percentile in milliseconds, by operation; the first entry is that of all others.
MEASURED: Mapping[str, tuple[float, float]] = {
    "": (16.0, 105.0),  # SQS: send, receive, delete
    "Publish": (73.0, 225.0),
    "Scan": (5.0, 20.0),
    "Query": (5.0, 20.0),
    "GetItem": (5.0, 20.0),
    "PutItem": (5.0, 20.0),
    "UpdateItem": (5.0, 20.0),
}


class LatencyModel:
    """Returns the delay of each request in seconds; without `delays` it is always 0."""

    def __init__(self, seed: int, *, delays: bool = True) -> None:
        self._seed = seed
        self._delays = delays
        self._random: dict[str, random.Random] = {}

    def seconds(self, operation: str) -> float:
        """Return the delay of the next request of this operation."""
        if not self._delays:
            return 0.0
        median, high = MEASURED.get(operation, MEASURED[""])
        # One sequence for each operation: that one is called more often does not change the others.
        if operation not in self._random:
            self._random[operation] = random.Random(f"{self._seed} {operation}")  # noqa: S311 - not for secrets
        source = self._random[operation]
        return median * math.exp(source.gauss(0.0, math.log(high / median) / _Z99)) / 1000
