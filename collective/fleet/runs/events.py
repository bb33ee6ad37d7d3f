"""The events of a run, as they are written to its record: one JSON object each, secrets masked.

`schemas/run-event.json` describes them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collective.ddl import Action
    from collective.fleet.call import Call
    from collective.fleet.pace import Pace
    from collective.fleet.recording import EndedCall
    from collective.messages import Reply

_LONGEST_INPUTS = 200  # characters of the inputs in the first event
_LONGEST_REASON = 200  # characters of why a call stopped, in the last event
_NO_DEFAULT = object()
_REPLY = ("sender", "statuscode", "statusmsg", "reason", "time", "elapsed_ms")


def begin(call: Call, retry_of: str | None = None) -> dict[str, Any]:
    """Return the first event: what a list of runs shows."""
    inputs = call.action.inputs
    data = call.action.masked(call.request.data)
    words = (
        f"{name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in data.items()
        if value != inputs.get(name, {}).get("default", _NO_DEFAULT)
    )
    return {
        "event": "begin",
        "run": call.request.id,
        "time": call.started,
        "collective": call.collective,
        "caller": call.caller,
        "agent": call.agent,
        "action": call.action.name,
        "inputs": " ".join(words)[:_LONGEST_INPUTS],
        "dry_run": call.dry_run,
        "nodes": len(call.outcomes.expected),
        "retry_of": retry_of,
        "approved_run": call.request.run,
    }


def request(call: Call, pace: Pace) -> dict[str, Any]:
    """Return the event with all that a retry needs, and that the results are printed with."""
    sent, outcomes = call.request, call.outcomes
    return {
        "event": "request",
        "data": call.action.masked(sent.data),
        "filter": sent.filter,
        "timeout": call.timeout,
        "ttl": sent.ttl,
        "pace": pace.to_data(),
        "ddl": asdict(call.action),
        "discovery_ms": round(call.discovery_ms, 3),
        "expected": sorted(outcomes.expected),
        "not_asked": dict(outcomes.not_asked),
        "not_evaluated": dict(outcomes.not_evaluated),
        "undiscovered": list(outcomes.undiscovered),
        "expect_all": outcomes.expect_all,
    }


def sent(
    request_id: str, nodes: Sequence[str], total: int, step: str = "", time: float | None = None
) -> dict[str, Any]:
    """Return the event of a wave before it is sent; `nodes` is null for all `total` nodes of the call.

    `step` is the name of a hook, `time` is in Unix seconds.
    """
    event = {"event": "sent", "request": request_id, "nodes": None if len(nodes) == total else list(nodes)}
    return event | ({"step": step} if step else {}) | ({"time": time} if time is not None else {})


def reply(received: Reply, action: Action, *, cut: bool = False) -> dict[str, Any]:
    """Return the event of a reply; with `cut` without its data."""
    event = {"event": "reply", **{name: getattr(received, name) for name in _REPLY}}
    return event | ({"data": {}, "cut": True} if cut else {"data": action.masked(received.data)})


def silent(nodes: Sequence[str]) -> dict[str, Any]:
    """Return the event of nodes that are not waited for any more."""
    return {"event": "silent", "nodes": list(nodes)}


def gate(wave: int, closed: str, time: float) -> dict[str, Any]:
    """Return the event of a check of the gates: why they are closed, empty when they are open."""
    return {"event": "gate", "wave": wave, "closed": closed, "time": time}


def missing(call: EndedCall) -> dict[str, Any]:
    """Return the event with the nodes that have not replied."""
    outcomes = call.outcomes
    return {
        "event": "missing",
        "silent": outcomes.silent,
        "skipped": sorted(outcomes.skipped),
        "rejected": sorted(outcomes.rejected),
        "absent": call.absent,
    }


def end(call: EndedCall, time: float) -> dict[str, Any]:
    """Return the last event."""
    return {
        "event": "end",
        "time": time,
        "outcomes": call.outcomes.counts(),
        "exit": call.outcomes.exit_code(),
        "stopped": call.stopped[:_LONGEST_REASON],
        "cut_short": call.cut_short,
        "total_ms": round(call.total_ms, 3),
    }
