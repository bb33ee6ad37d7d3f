"""The lease of a caller on a run: renewed in a thread while the call runs, and over when that was not possible."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from collective.errors import TransportError
from collective.fleet.steering.run_log import LEASE, RENEW, Holder, RunProgress, RunStore
from collective.periodic import PeriodicThread

log = logging.getLogger(__name__)

_MARGIN = 4.0  # seconds before its end from which a lease is not relied on


def boot_clock() -> float:
    """Return a time in seconds that includes the time for which the machine was suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class RunLease:
    """The lease of `holder` on a run, which it has when this is created."""

    def __init__(self, store: RunStore, run: str, holder: Holder, clock: Callable[[], float] = boot_clock) -> None:
        self.holder = holder
        self._store = store
        self._run = run
        self._clock = clock
        self._renewed = clock()
        self._progress = RunProgress()
        self._lost = False
        self._released = False
        self._lock = threading.Lock()
        self._thread = PeriodicThread("lease", self._renew_in_thread, RENEW)

    def keep(self) -> None:
        """Renew it in a thread from now on."""
        self._thread.start()

    def report(self, progress: RunProgress) -> None:
        """Store how far the run has come, with the next renewal."""
        self._progress = progress

    @property
    def problem(self) -> str:
        """Why this caller must not send any more; empty while the lease is certain."""
        if self._lost:
            return "another caller has taken it"
        if self._clock() >= self._renewed + LEASE - _MARGIN:
            return "its lease could not be renewed in time"
        return ""

    def renew(self, *, at_once: bool = False) -> None:
        """Renew it if it is time to, or `at_once`. Raises TransportError and OSError."""
        with self._lock:
            began = self._clock()
            if self._lost or self._released or (began < self._renewed + RENEW and not at_once):
                return
            if self._store.renew(self._run, self.holder, self._progress):
                self._renewed = began
            else:
                self._lost = True

    def lose(self) -> None:
        """Note that another caller has the run."""
        self._lost = True

    def release(self, end: dict[str, object] | None) -> None:
        """End it; `end` is the last event of a run that is complete."""
        self._thread.stop()
        with self._lock:  # a renewal that is under way must not come after it
            if self._lost or self._released:
                return
            self._released = True
        try:
            self._store.release(self._run, self.holder, end)
        except (TransportError, OSError) as error:
            log.warning("run.lease_failed", extra={"error": f"run {self._run[:8]}: cannot end the lease: {error}"})

    def _renew_in_thread(self) -> float:
        try:
            self.renew()
        except (TransportError, OSError) as error:
            log.warning("run.lease_failed", extra={"error": f"run {self._run[:8]}: cannot renew the lease: {error}"})
        return RENEW / 4
