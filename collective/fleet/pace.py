"""Describe how fast a call reaches its nodes, and after how many failures it stops.

    Pace(concurrency=10)                            10 nodes at a time
    Pace(batch="25%", batch_sleep=60, max_fail=1)   a quarter of the nodes at a time, with a pause of 60 s between
                                                    batches; stop after the first failure

`rollout.py` explains how the settings combine.
"""

from __future__ import annotations

from dataclasses import dataclass

from collective.errors import UsageError
from collective.fleet.amounts import Amount, AmountLike, read_amount, read_count


@dataclass(frozen=True, init=False)
class Pace:
    """The speed of a call; without arguments, all nodes are reached at once.

    `concurrency` is the number of nodes that may work at the same time. `batch` (`N` or `"N%"`) is the size of a
    batch, `batch_sleep` the pause between two batches in seconds. `max_fail` (`N` or `"N%"`) is the number of failed
    or silent nodes after which no more nodes are reached.

    Raises UsageError, naming the argument, for an invalid value.
    """

    concurrency: int | None
    batch: Amount | None
    batch_sleep: float
    max_fail: Amount | None

    def __init__(
        self,
        concurrency: int | str | None = None,
        batch: AmountLike = None,
        batch_sleep: float = 0.0,
        max_fail: AmountLike = None,
    ) -> None:
        if not 0 <= batch_sleep < float("inf"):
            raise UsageError(f"batch_sleep '{batch_sleep}': must be a number of seconds")
        if batch_sleep and batch is None:
            raise UsageError("batch_sleep: has no effect without batch (set batch)")
        count = None if concurrency is None else read_count("concurrency", concurrency)
        object.__setattr__(self, "concurrency", count)
        object.__setattr__(self, "batch", None if batch is None else read_amount("batch", batch))
        object.__setattr__(self, "batch_sleep", batch_sleep)
        object.__setattr__(self, "max_fail", None if max_fail is None else read_amount("max_fail", max_fail))


AT_ONCE = Pace()
