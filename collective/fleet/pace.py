"""Describe how fast a call reaches its nodes, and after how many failures it stops.

    Pace(concurrency=10)                            10 nodes at a time
    Pace(batch="25%", batch_sleep=60, max_fail=1)   a quarter of the nodes at a time, with a pause of 60 s between
                                                    batches; stop after the first failure
    Pace(waves="1,5,10%,rest", order_by="role=db,app,web", per=["az=1"], max_fail=1)

`rollout.py` explains how the settings combine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from collective.errors import UsageError
from collective.fleet.amounts import Amount, AmountLike, read_amount, read_count
from collective.fleet.budgets import Limits
from collective.fleet.grouping import GroupLimit, read_limit
from collective.fleet.rate import Rate, read_rate
from collective.fleet.waves import Order, read_order, read_sizes

MAX_RETRIES = 100
RETRY_DELAY = 10.0  # seconds before the first retry


@dataclass(frozen=True, init=False)
class Pace:
    """The speed of a call; without arguments, all nodes are reached at once.

    `concurrency` is the number of nodes that may work at the same time. `batch` (`N` or `"N%"`) is the size of a
    batch, `batch_sleep` the pause between two batches in seconds. `waves` (`"1,5,10%,rest"`) are the sizes of waves
    that grow, `wave_pause` the pause between two waves in seconds. `order_by` (`"role=db,app,web"`, or a fact) divides
    the nodes into ranks, one after the other. `per` (`["az=1"]`) limits how many nodes with the same value of a fact
    work at the same time. `rate` (`"30/m"`) limits how many nodes are reached per time.

    `max_fail` (`N` or `"N%"`) is the number of failed or silent nodes after which no more nodes are reached; with
    `max_silent` (`N` or `"N%"`) silent nodes are counted separately. `wave_max_fail` and `wave_max_silent` are the same
    for each wave. `success_threshold` (`"95%"`) is the share of OK nodes that is enough for exit code 0.

    `retry` is how often an idempotent action is repeated on a node that failed or is silent; the first time after
    `retry_delay` seconds, then after twice as long each time.

    Raises UsageError, naming the argument, for an invalid value.
    """

    concurrency: int | None
    batch: Amount | None
    batch_sleep: float
    waves: tuple[Amount, ...]
    wave_pause: float
    order_by: Order | None
    per: tuple[GroupLimit, ...]
    rate: Rate | None
    limits: Limits
    success_threshold: Amount | None
    retry: int
    retry_delay: float

    def __init__(
        self,
        concurrency: int | str | None = None,
        batch: AmountLike = None,
        batch_sleep: float = 0.0,
        max_fail: AmountLike = None,
        *,
        waves: str | Sequence[Any] = (),
        wave_pause: float = 0.0,
        order_by: Order | str | None = None,
        per: Iterable[GroupLimit | str] = (),
        rate: Rate | str | None = None,
        max_silent: AmountLike = None,
        wave_max_fail: AmountLike = None,
        wave_max_silent: AmountLike = None,
        success_threshold: AmountLike = None,
        retry: int = 0,
        retry_delay: float = RETRY_DELAY,
    ) -> None:
        limits = Limits(
            _amount("max_fail", max_fail),
            _amount("max_silent", max_silent),
            _amount("wave_max_fail", wave_max_fail),
            _amount("wave_max_silent", wave_max_silent),
        )
        for name, value in {
            "concurrency": None if concurrency is None else read_count("concurrency", concurrency),
            "batch": _amount("batch", batch),
            "batch_sleep": _seconds("batch_sleep", batch_sleep),
            "waves": read_sizes("waves", waves) if waves else (),
            "wave_pause": _seconds("wave_pause", wave_pause),
            "order_by": None if order_by is None else read_order("order_by", order_by),
            "per": tuple(read_limit("per", limit) for limit in per),
            "rate": None if rate is None else read_rate("rate", rate),
            "limits": limits,
            "success_threshold": _share("success_threshold", success_threshold),
            "retry": retry,
            "retry_delay": _seconds("retry_delay", retry_delay),
        }.items():
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        """Raise UsageError for settings that exclude each other, or have no effect."""
        limits = self.limits
        if self.waves and self.batch:
            raise UsageError("waves: not allowed with batch (a batch of 5 is waves=5)")
        if self.batch_sleep and not self.batch:
            raise UsageError("batch_sleep: has no effect without batch (set batch)")
        if self.wave_pause and not (self.waves or self.order_by):
            raise UsageError("wave_pause: has no effect without waves or order_by (set waves)")
        if (limits.wave_max_fail or limits.wave_max_silent) and not (self.sizes or self.order_by):
            name = "wave_max_fail" if limits.wave_max_fail else "wave_max_silent"
            raise UsageError(f"{name}: has no effect without waves (set waves)")
        if not 0 <= self.retry <= MAX_RETRIES:
            raise UsageError(f"retry '{self.retry}': must be a number of retries from 0 to {MAX_RETRIES}")

    def to_data(self) -> dict[str, Any]:
        """Return the arguments that differ from the defaults, as JSON: `Pace(**data)` is equal to this pace."""
        limits = {name: _written(value) for name, value in vars(self.limits).items()}
        given = {
            "concurrency": self.concurrency,
            "batch": _written(self.batch),
            "batch_sleep": self.batch_sleep,
            "waves": ",".join(map(str, self.waves)),
            "wave_pause": self.wave_pause,
            "order_by": _written(self.order_by),
            "per": [str(limit) for limit in self.per],
            "rate": _written(self.rate),
            **limits,
            "success_threshold": _written(self.success_threshold),
            "retry": self.retry,
            "retry_delay": self.retry_delay if self.retry else 0,
        }
        return {name: value for name, value in given.items() if value}

    @property
    def max_fail(self) -> Amount | None:
        """The number of failed or silent nodes after which no more nodes are reached."""
        return self.limits.max_fail

    @property
    def sizes(self) -> tuple[Amount, ...]:
        """The sizes of the waves; a batch is a wave whose size is repeated."""
        return self.waves or ((self.batch,) if self.batch else ())

    @property
    def pause(self) -> float:
        """The pause between two waves or batches in seconds."""
        return self.wave_pause or self.batch_sleep

    @property
    def facts(self) -> tuple[str, ...]:
        """The facts that must be known of each node."""
        ordered = (self.order_by.fact,) if self.order_by else ()
        return (*ordered, *(limit.fact for limit in self.per))

    @property
    def needs_replies(self) -> bool:
        """Whether this pace depends on the replies; all nodes can be sent to at once if not."""
        return self != Pace(success_threshold=self.success_threshold, retry_delay=self.retry_delay)


def _written(value: object) -> str | None:
    return None if value is None else str(value)


def _amount(name: str, value: AmountLike) -> Amount | None:
    return None if value is None else read_amount(name, value)


def _share(name: str, value: AmountLike) -> Amount | None:
    share = _amount(name, value)
    if share and not share.percent:
        raise UsageError(f"{name} '{value}': must be a percentage from 1% to 100%")
    return share


def _seconds(name: str, value: float) -> float:
    if not 0 <= value < float("inf"):
        raise UsageError(f"{name} '{value}': must be a number of seconds")
    return value


AT_ONCE = Pace()
