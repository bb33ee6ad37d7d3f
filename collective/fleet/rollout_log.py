"""Log how a call gets on: the beginning of each wave, and a hint when no node answers."""

from __future__ import annotations

import logging

from collective import ddl
from collective.fleet import silence
from collective.fleet.outcomes import Outcomes
from collective.fleet.rollout import Rollout
from collective.fleet.unresponsive import FIRST_LOOK, UnresponsiveNodes
from collective.text import plural

log = logging.getLogger(__name__)

_QUICK = 10.0  # seconds; an action with this timeout is expected to answer before the first look into the queues
_LATE_HINT = 30.0  # seconds after which nodes that have read the request and not answered are reported, if it is not


class RolloutLog:
    """Logs the events of one call. Times are in seconds, by the call's clock; `began` is when the call was made."""

    def __init__(self, rollout: Rollout, unresponsive: UnresponsiveNodes, action: ddl.Action, began: float) -> None:
        self._rollout = rollout
        self._unresponsive = unresponsive
        self._logged_wave = 0
        self._hint_at = began + (FIRST_LOOK if action.timeout <= _QUICK else _LATE_HINT)

    def begin_wave(self) -> None:
        """Log the beginning of each wave; nothing with only one wave."""
        rollout = self._rollout
        if len(rollout.waves) > 1 and rollout.wave > self._logged_wave:
            self._logged_wave = rollout.wave
            planned = rollout.waves[rollout.wave - 1]
            rank = f" ({planned.rank})" if planned.rank else ""
            text = f"wave {rollout.wave} of {len(rollout.waves)}{rank}: {plural(len(planned.nodes), 'node')}"
            log.info("rollout.wave", extra={"error": text})

    def hint_no_reply(self, outcomes: Outcomes, now: float) -> None:
        """Log once, while waiting, that all nodes have read the request and none has answered."""
        working = self._rollout.working
        if not working or outcomes.replies or outcomes.rejected or now < self._hint_at:
            return
        if self._unresponsive.have_read(working):
            self._hint_at = float("inf")
            log.warning("reply.none", extra={"error": silence.received_by(sorted(working))})
