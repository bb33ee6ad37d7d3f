"""Compute the aggregates of an action's DDL: one result per output, over all replies.

    summary                   how often each value occurs, most frequent first
    sum, average, min, max    a number, or None when there are no numbers

Values that a function cannot use (text among numbers, null) are omitted and counted.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from collective.ddl import Action, Aggregate
from collective.messages import Reply
from collective.text import plural

Number = int | float


@dataclass(frozen=True)
class AggregateResult:
    """The result of one aggregate: for `summary`, the count of each value (as text); else a number or None.

    `labels` are display names of values; the counts have the values themselves as keys. Of `values` values, or
    elements of lists, `omitted` could not be used.
    """

    function: str
    output: str
    title: str
    result: Mapping[str, int] | Number | None
    labels: Mapping[str, str] = field(default_factory=dict)
    values: int = 0
    omitted: int = 0

    @property
    def note(self) -> str:
        """What was omitted and why, as a line; empty if nothing was."""
        if not self.omitted:
            return ""
        why = "null" if self.function == "summary" else "not a number"
        return f"{self.omitted} of {plural(self.values, 'value')} omitted: {why}"

    def to_data(self) -> dict[str, Any]:
        """Return the result as it is in the JSON document of a call."""
        return {
            "function": self.function,
            "output": self.output,
            "title": self.title,
            "result": dict(self.result) if isinstance(self.result, Mapping) else self.result,
            "omitted": self.omitted,
        }


def compute(action: Action, replies: Iterable[Reply]) -> list[AggregateResult]:
    """Return the result of each aggregate of `action` over `replies`, in the order of the DDL.

    Replies that have the output count, failed ones too. Outputs marked `writeOnly` are not aggregated, because the
    result would show their values.
    """
    data = [reply.data for reply in replies]
    return [
        _result(aggregate, [each[aggregate.output] for each in data if aggregate.output in each])
        for aggregate in action.aggregates
        if aggregate.output not in action.secrets
    ]


def _result(aggregate: Aggregate, values: Sequence[Any]) -> AggregateResult:
    counted = aggregate.function == "summary"
    found = list(_elements(values)) if counted else values
    usable = [value for value in found if (value is not None if counted else _is_number(value))]
    return AggregateResult(
        aggregate.function,
        aggregate.output,
        aggregate.title,
        _FUNCTIONS[aggregate.function](usable),
        aggregate.labels,
        len(found),
        len(found) - len(usable),
    )


def _summary(values: Sequence[Any]) -> dict[str, int]:
    counts = Counter(map(_key, values))
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _elements(values: Sequence[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from value
        else:
            yield value


def _key(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        return f"({type(value).__name__})"


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False  # an integer larger than any float


def _sum(numbers: Sequence[Any]) -> Number | None:
    if not numbers:
        return None
    if all(isinstance(number, int) for number in numbers):
        return int(sum(numbers))
    try:
        return float(sum(map(Fraction, numbers)))
    except OverflowError:
        return None


def _average(numbers: Sequence[Any]) -> Number | None:
    # Fractions, because a sum of floats can overflow or lose precision although the average is within range.
    return float(sum(map(Fraction, numbers)) / len(numbers)) if numbers else None


def _min(numbers: Sequence[Any]) -> Number | None:
    return min(numbers, default=None)


def _max(numbers: Sequence[Any]) -> Number | None:
    return max(numbers, default=None)


_FUNCTIONS: Mapping[str, Callable[[Sequence[Any]], dict[str, int] | Number | None]] = {
    "summary": _summary,
    "sum": _sum,
    "average": _average,
    "min": _min,
    "max": _max,
}
