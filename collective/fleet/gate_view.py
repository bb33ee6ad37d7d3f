"""Describe a rollout for its gates: the JSON that a command gets, and the replies that an expression is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from collective import ddl
from collective.fleet.gates import GateView
from collective.fleet.rollout import Rollout
from collective.messages import Reply

if TYPE_CHECKING:
    from collective.fleet.call import Call


def gate_view(call: Call, rollout: Rollout) -> GateView:
    """Return the rollout of a call so far, as its gates see it. Secret outputs are masked."""
    outcomes = call.outcomes
    reached = outcomes.expected - set(rollout.waiting)
    busy = rollout.working.keys() | set(rollout.retrying)
    replies = list(outcomes.replies.values())
    unanswered = sorted(reached - outcomes.replies.keys() - busy)
    document = {
        "request_ids": call.request_ids,
        "collective": call.collective,
        "caller": call.caller,
        "agent": call.agent,
        "action": call.action.name,
        "wave": rollout.wave,
        "waves": len(rollout.waves),
        "ok": sorted(outcomes.ok),
        "failed": sorted(outcomes.failed),
        "silent": unanswered,
        "working": sorted(busy),
        "waiting": list(rollout.waiting),
        "replies": [_reply(reply, call.action) for reply in replies],
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
