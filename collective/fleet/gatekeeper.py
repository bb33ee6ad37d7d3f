"""Check the gates of a rollout: between two waves, and from time to time while a wave is at work.

    closed ── stop ───► the rollout stops: working nodes are still waited for
           └─ pause ──► no node is sent to until all gates are open; they are checked again every few seconds

Between waves no node is at work, so that the caller waits for the gates. During a wave they are checked in a thread,
because replies arrive meanwhile.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor

from collective.fleet.gates import PAUSE, RECHECK, Gates, GateView
from collective.fleet.recording import NO_RECORD, CallRecord
from collective.fleet.rollout import Rollout

log = logging.getLogger(__name__)

_PATIENCE = 1.0  # seconds between two looks at a check that runs in a thread


class GateKeeper:
    """Opens and closes the gates of one rollout. Times are in seconds, by the call's clock."""

    def __init__(self, gates: Gates, rollout: Rollout, now: float, record: CallRecord = NO_RECORD) -> None:
        self._record = record
        self._gates = gates
        self._rollout = rollout
        self._recheck_at = now
        self._watch_at = now + gates.every if gates.every else float("inf")
        self._checking: Future[str] | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._reported = ""

    def is_due(self, now: float) -> bool:
        """Return whether `look` has something to do."""
        if self._checking:
            return self._checking.done()
        if self._rollout.at_gate or self._rollout.held:
            return now >= self._recheck_at
        return now >= self._watch_at and bool(self._rollout.working) and not self._rollout.stopped

    def look(self, view: GateView, now: float) -> None:
        """Check the gates, or take the result of the check in the thread; then pass, stop or hold the rollout."""
        if self._checking:
            result, self._checking = self._checking.result(), None
            self._decide(result, now)
        elif self._rollout.at_gate:
            self._decide(self._check(view), now)
        else:
            self._thread = self._thread or ThreadPoolExecutor(1, thread_name_prefix="gate")
            self._watch_at = now + (self._gates.every or RECHECK)
            self._checking = self._thread.submit(self._check, view, unattended=True)

    def wake(self, now: float) -> float:
        """Return when to call `look` at the latest; infinity when only replies matter."""
        if self._checking:
            return now + _PATIENCE
        if self._rollout.at_gate or self._rollout.held:
            return self._recheck_at
        return self._watch_at if self._rollout.working and not self._rollout.stopped else float("inf")

    def close(self) -> None:
        """End the thread; a check that runs is not waited for."""
        if self._thread:
            self._thread.shutdown(wait=False, cancel_futures=True)

    def _check(self, view: GateView, *, unattended: bool = False) -> str:
        """Return why the first closed gate is closed; an empty string when all are open."""
        for gate in self._gates.gates:
            if gate.unattended or not unattended:
                reason = gate.check(view)
                if reason:
                    return f"gate '{gate.name}': {reason}"
        return ""

    def _decide(self, closed: str, now: float) -> None:
        if closed != self._reported or (self._rollout.at_gate and not closed):
            self._record.gate(self._rollout.wave, closed)
        if not closed:
            self._reported = ""
            self._rollout.held = False
            self._rollout.pass_gate()
        elif self._gates.action == PAUSE:
            self._recheck_at = now + (self._gates.every or RECHECK)
            self._rollout.held = not self._rollout.at_gate
            if closed != self._reported:
                self._reported = closed
                log.warning("rollout.paused", extra={"error": f"paused: {closed}"})
        else:
            self._rollout.stop(closed)
