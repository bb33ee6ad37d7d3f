"""Wait for a condition: the only place where tests sleep."""

from __future__ import annotations

import time
from collections.abc import Callable

_PERIOD = 0.02  # seconds between two checks


def wait_until(condition: Callable[[], bool], timeout: float, details: Callable[[], str] = lambda: "") -> None:
    """Wait until `condition` is true; fail the test with `details` if it is not after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, details() or f"condition not met after {timeout:g} s"
        time.sleep(_PERIOD)
