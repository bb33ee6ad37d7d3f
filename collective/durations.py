"""Parse and format durations and ages."""

from __future__ import annotations

import re

from collective.errors import UsageError
from collective.text import plural

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]{1,9})([smhd])")
_SECONDS = re.compile(r"([0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})s?")
_FORMS = "seconds (90s), minutes (15m), hours (36h) or days (7d)"


def in_words(seconds: float) -> str:
    """Return a duration in its largest fitting unit, rounded: `119 seconds`, `2 minutes`, `3 days`."""
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return plural(round(max(0.0, seconds)), "second")


def read(text: str) -> float:
    """Return an age such as `90s`, `15m`, `36h` or `7d` in seconds; raise UsageError for anything else."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise UsageError(f"invalid duration '{text}': use {_FORMS}")
    return int(found[1]) * _UNITS[found[2]]


def read_wait(text: str, longest: float = 86400.0) -> float:
    """Return a duration to wait, in seconds: as `read`, or a number of seconds such as `10` or `0.5`.

    Raises UsageError unless it is more than 0 and at most `longest` seconds.
    """
    found = _SECONDS.fullmatch(text)
    value = float(found[1]) if found else read(text)
    if not 0 < value <= longest:
        raise UsageError(f"invalid duration '{text}': must be more than 0 s and at most {longest:g} s")
    return value
