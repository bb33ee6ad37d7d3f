"""Describe a rollout for its gates: the JSON that a command gets, and the replies that an expression is about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from collective import ddl
from collective.fleet.gates import GateView
from collective.fleet.outcomes import Outcomes
from collective.fleet.rollout import Rollout
from collective.messages import Reply, Request


def gate_view(
    request: Request, request_ids: Sequence[str], action: ddl.Action, outcomes: Outcomes, rollout: Rollout
) -> GateView:
    """Return a rollout so far, as its gates see it; `request_ids` were sent. Secret outputs are masked."""
    reached = outcomes.expected - set(rollout.waiting)
    busy = rollout.working.keys() | set(rollout.retrying)
    replies = list(outcomes.replies.values())
    unanswered = sorted(reached - outcomes.replies.keys() - busy)
    document = {
        "request_ids": list(request_ids),
        "collective": request.collective,
        "caller": request.caller,
        "agent": request.agent,
        "action": action.name,
        "wave": rollout.wave,
        "waves": len(rollout.waves),
        "ok": sorted(outcomes.ok),
        "failed": sorted(outcomes.failed),
        "silent": unanswered,
        "working": sorted(busy),
        "waiting": list(rollout.waiting),
        "replies": [_reply(reply, action) for reply in replies],
    }
    return GateView(document, replies, unanswered)


def _reply(reply: Reply, action: ddl.Action) -> dict[str, Any]:
    return {
        "sender": reply.sender,
        "statuscode": reply.statuscode,
        "statusmsg": reply.statusmsg,
        "reason": reply.reason,
        "data": action.masked(reply.data),
    }
