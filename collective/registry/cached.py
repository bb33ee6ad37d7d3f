"""Cache the registry between calls, so that a program that calls often does not scan the table each time."""

from __future__ import annotations

import time
from collections.abc import Callable

from collective.registry import Contents, Nodes


class CachedNodes:
    """The nodes of `registry`, cached for `seconds`; `clock` returns seconds."""

    def __init__(self, registry: Nodes, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        self._seconds = seconds
        self._clock = clock
        self._contents = Contents()
        self._time = float("-inf")

    def now(self) -> float:
        """Return the registry's time in Unix seconds."""
        return self._registry.now()

    def read(self) -> Contents:
        """Return the contents as of at most `seconds` ago. Raises TransportError."""
        if self._clock() - self._time > self._seconds:
            self._contents = self._registry.read()
            self._time = self._clock()
        return self._contents
