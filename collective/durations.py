"""Parse and format durations."""

from __future__ import annotations

import re

from collective.errors import UsageError

_UNITS = {"h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]{1,5})([hd])")


def in_words(seconds: float) -> str:
    """Return a duration in its largest fitting unit, rounded: `119 seconds`, `2 minutes`, `3 days`."""
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0, seconds):.0f} seconds"


def read(text: str) -> float:
    """Return a duration such as `36h` or `7d` in seconds; raise UsageError for anything else."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise UsageError(f"invalid duration '{text}': use hours (36h) or days (7d)")
    return int(found[1]) * _UNITS[found[2]]
