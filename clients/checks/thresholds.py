"""Ranges in the syntax of Nagios: a value outside the range is an alert, with `@` a value inside it.

    10      below 0 or above 10        10:     below 10        ~:10    above 10
    10:20   outside 10 to 20           @10:20  from 10 to 20

Source: Monitoring Plugins Development Guidelines, "Threshold and Ranges".
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from collective.errors import UsageError

_NUMBER = r"-?[0-9]{1,15}(?:\.[0-9]{1,9})?"
_RANGE = re.compile(rf"(?a)(?P<inside>@)?(?:(?P<start>~|{_NUMBER})?(?P<colon>:))?(?P<end>{_NUMBER})?")


@dataclass(frozen=True)
class Threshold:
    """A range, and the text that it was read from."""

    text: str
    start: float
    end: float
    inside: bool

    def alerts(self, value: float) -> bool:
        """Return whether a value is an alert."""
        return (self.start <= value <= self.end) == self.inside


def read_threshold(text: str) -> Threshold:
    """Return the range that `text` describes. Raises UsageError."""
    found = _RANGE.fullmatch(text)
    if found is None or not (found["end"] or found["start"] not in (None, "~")):
        raise UsageError(f"invalid range '{text[:50]}': use 10, 10:, ~:10, 10:20 or @10:20")
    start = -math.inf if found["start"] == "~" else float(found["start"] or 0)
    end = float(found["end"]) if found["end"] else math.inf
    if start > end:
        raise UsageError(f"invalid range '{text}': {start:g} is greater than {end:g}")
    return Threshold(text, start, end, bool(found["inside"]))
