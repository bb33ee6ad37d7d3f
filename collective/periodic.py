"""Run a step repeatedly in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable


class PeriodicThread:
    """Call `step` in a daemon thread: at the start, then after each pause, until `stop`.

    The pause is what `step` returns in seconds, or `period` when it returns None; `wake` ends it early. With a
    `period` of None, the thread calls `step` only when woken, and not at the start. `finish` is called once in the
    thread after the last step. `step` and `finish` handle their own errors.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], float | None],
        period: float | None,
        finish: Callable[[], None] | None = None,
    ) -> None:
        self._step = step
        self._period = period
        self._finish = finish
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Run the next step now instead of at the end of the pause. Several calls during one step count as one."""
        self._wake.set()

    def stop(self, timeout: float = 0.0) -> None:
        """Start no further step. Wait at most `timeout` seconds for the running step and `finish`."""
        self._stopping.set()
        self._wake.set()
        if timeout and self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        if self._period is None:
            self._pause(None)
        while not self._stopping.is_set():
            pause = self._step()
            self._pause(self._period if pause is None else pause)
        if self._finish is not None:
            self._finish()

    def _pause(self, seconds: float | None) -> None:
        self._wake.wait(seconds)
        self._wake.clear()
