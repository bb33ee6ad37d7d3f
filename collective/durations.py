"""Durations as people say and write them."""

from __future__ import annotations

import re

from collective.errors import UsageError

_UNITS = {"h": 3600.0, "d": 86400.0}
_WRITTEN = re.compile(r"([0-9]{1,5})([hd])")


def in_words(seconds: float) -> str:
    """Return a duration in the unit in which a person would say it."""
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0, seconds):.0f} seconds"


def read(text: str) -> float:
    """Return the seconds that `36h` or `7d` means; raise UsageError for anything else."""
    written = _WRITTEN.fullmatch(text)
    if written is None:
        raise UsageError(f"'{text}' is no duration: hours such as 36h, or days such as 7d")
    return int(written[1]) * _UNITS[written[2]]
