"""Wait for conditions that no event reports: files and processes of other programs."""

from __future__ import annotations

import time
from collections.abc import Callable

_INTERVAL = 0.02  # seconds between checks


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until a condition is true; return False after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_INTERVAL)
    return True
