"""The times of day at which a rule matches: `22:00-04:00`, in the node's time zone, or `22:00-04:00 Europe/Berlin`.

A window may contain midnight. Its end does not belong to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, tzinfo

_WINDOW = re.compile(r"([0-2][0-9]):([0-5][0-9])-([0-2][0-9]):([0-5][0-9])(?: (\S+))?")
_DAY = 24 * 60  # minutes


@dataclass(frozen=True)
class TimeWindow:
    """From `begin` until before `end`, in minutes of the day; `zone` is a name such as UTC, or None for local time."""

    text: str
    begin: int
    end: int
    zone: tzinfo | None = None

    def contains(self, time: float) -> bool:
        """Return whether a time in Unix seconds is within the window."""
        at = datetime.fromtimestamp(time, self.zone)
        minute = at.hour * 60 + at.minute
        if self.begin < self.end:
            return self.begin <= minute < self.end
        return minute >= self.begin or minute < self.end


def read_window(text: str) -> TimeWindow:
    """Read a window; raise ValueError with the reason for an invalid one."""
    found = _WINDOW.fullmatch(text)
    hint = "use HH:MM-HH:MM, and a time zone if needed: 22:00-04:00 Europe/Berlin"
    if not found:
        raise ValueError(f"invalid times '{text}' ({hint})")
    begin, end = int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4])
    if begin >= _DAY or end > _DAY or begin == end:
        raise ValueError(f"invalid times '{text}' ({hint})")
    return TimeWindow(text, begin, end % _DAY, _zone(found[5]))


def _zone(name: str | None) -> tzinfo | None:
    if name is None:
        return None
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise ValueError(f"unknown time zone '{name}' (a name such as UTC or Europe/Berlin)") from None
