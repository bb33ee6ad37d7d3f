"""Describe a rollout for its gates: the JSON that a command gets, and the replies that an expression is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collective import ddl
from collective.fleet.gates import GateView
from collective.fleet.outcomes import Outcomes
from collective.fleet.rollout import Rollout
from collective.messages import Reply


def gate_view(head: Mapping[str, Any], action: ddl.Action, rollout: Rollout, outcomes: Outcomes) -> GateView:
    """Return the rollout so far; `head` are the members about the call. Secret outputs are masked."""
    reached = outcomes.expected - set(rollout.waiting)
    busy = rollout.working.keys() | set(rollout.retrying)
    replies = list(outcomes.replies.values())
    unanswered = sorted(reached - outcomes.replies.keys() - busy)
    document = {
        **head,
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
