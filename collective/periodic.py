"""Run one step again and again in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable


class PeriodicThread:
    """Call `step` in a daemon thread until `stop`: at the start, and then after a pause each time.

    The pause is what `step` returns in seconds, or `period` when it returns None; `wake` ends it early.
    `step` handles its own errors.
    """

    def __init__(self, name: str, step: Callable[[], float | None], period: float) -> None:
        self._step = step
        self._period = period
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread; its first step is run at once."""
        self._thread.start()

    def wake(self) -> None:
        """Run the next step now instead of at the end of the pause."""
        self._wake.set()

    def stop(self, timeout: float = 0.0) -> None:
        """Run no further step, and wait at most `timeout` seconds for the one that is running."""
        self._stopping.set()
        self._wake.set()
        if timeout and self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping.is_set():
            pause = self._step()
            self._wake.wait(self._period if pause is None else pause)
            self._wake.clear()
