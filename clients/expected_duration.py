"""Estimate how long a planned call takes, from earlier runs of the same action on this machine."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING

from collective.errors import UsageError

if TYPE_CHECKING:
    from collective.fleet.plan import CallPlan
    from collective.fleet.runs.folder import RunFolder

_LOOK_BACK = 200  # saved runs that are looked at
_ENOUGH = 3  # runs of the action


def expected_seconds(plan: CallPlan, runs: RunFolder) -> float | None:
    """Return the seconds that a call will take if nodes work as long as in its last runs; None if that is unknown."""
    usual = _usual_seconds(plan, runs)
    if usual is None:
        return None
    at_once = plan.pace.concurrency or max((len(wave.nodes) for wave in plan.waves), default=1)
    work = sum(math.ceil(len(wave.nodes) / at_once) * usual for wave in plan.waves)
    rate = plan.pace.rate
    slowest = len(plan.nodes) * rate.seconds / rate.number if rate else 0.0
    return max(work, slowest) + plan.pace.pause * (len(plan.waves) - 1)


def _usual_seconds(plan: CallPlan, runs: RunFolder) -> float | None:
    """Return the median duration of the action on a node in its last runs; None if there are none."""
    from collective.fleet.runs import saved_run

    durations: list[float] = []
    seen = 0
    for file in runs.newest()[:_LOOK_BACK]:
        with suppress(OSError, UsageError):
            begin = file.begin()
            if (begin.get("agent"), begin.get("action")) != (plan.action.agent, plan.action.name):
                continue
            replies = saved_run.read(file).replies.values()
            durations += [float(reply["elapsed_ms"]) / 1000 for reply in replies if reply.get("elapsed_ms") is not None]
            seen += 1
        if seen == _ENOUGH:
            break
    if not durations:
        return None
    from statistics import median  # takes 3 ms

    return median(durations)
