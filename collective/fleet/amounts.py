"""Read numbers of nodes: a count (`5`) or a share of the nodes (`20%`), for limits, batches and allowed failures."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from collective.errors import UsageError

_AMOUNT = re.compile(r"([0-9]{1,9})(%?)")


@dataclass(frozen=True)
class Amount:
    """A number of nodes, or with `percent` a percentage of the expected nodes; at least 1."""

    number: int
    percent: bool = False
    written: str = field(default="", compare=False)  # how it is shown, if not as a number

    def __str__(self) -> str:
        """Return the amount as it is written: `5` or `20%`."""
        return self.written or f"{self.number}{'%' if self.percent else ''}"

    def floor(self, total: int) -> int:
        """Return the number of nodes out of `total`, rounded down, at least 1."""
        return max(1, self.number * total // 100) if self.percent else self.number

    def ceil(self, total: int) -> int:
        """Return the number of nodes out of `total`, rounded up."""
        return -(-self.number * total // 100) if self.percent else self.number


AmountLike = Amount | str | float | None


def read_amount(option: str, value: Amount | str | float) -> Amount:
    """Read `N` or `N%`; a float is truncated. Raise UsageError, naming `option`, for an invalid value."""
    if isinstance(value, Amount):
        return value
    finite = isinstance(value, float) and math.isfinite(value)
    found = _AMOUNT.fullmatch(str(int(value) if finite else value))
    amount = Amount(int(found[1]), percent=bool(found[2])) if found else Amount(0)
    if amount.number < 1 or (amount.percent and amount.number > 100):
        raise UsageError(f"{option} '{value}': must be a number of nodes from 1, or a percentage from 1% to 100%")
    return amount


def read_count(option: str, value: str | int) -> int:
    """Read a number of nodes, from 1; raise UsageError, naming `option`, for an invalid value."""
    found = _AMOUNT.fullmatch(str(value))
    if not found or found[2] or int(found[1]) < 1:
        raise UsageError(f"{option} '{value}': must be a number of nodes from 1")
    return int(found[1])
