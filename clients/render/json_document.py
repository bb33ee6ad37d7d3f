"""The JSON document of a call, and the events of `--jsonl`.

    document(call)    the whole call; schemas/results.json
    reply_event       {"event": "reply", …} when a reply arrives
    end_event         {"event": "end", …}, the document without the replies and the schema

Outputs that the DDL marks `writeOnly` are masked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TextIO

from collective import schemas
from collective.clients.render import CallView, ordered
from collective.clients.render.formatting import shallow, write_json
from collective.clients.streams import write
from collective.ddl import Action
from collective.fleet import aggregates
from collective.fleet.outcomes import Outcomes
from collective.messages import Reply


def document(call: CallView, *, by_identity: bool = False) -> dict[str, Any]:
    """Return the document of a finished call; replies by arrival, or sorted by sender."""
    outcomes = call.outcomes
    replies = ordered(outcomes.replies.values(), by_identity)
    return {
        "schema": schemas.schema_id("results"),
        "request_id": call.request_id,
        "request_ids": call.request_ids,
        "agent": call.agent,
        "action": call.action.name,
        "collective": call.collective,
        "caller": call.caller,
        "replies": [_reply(reply, call.action) for reply in replies],
        "outcomes": outcomes.counts(),
        "silent": outcomes.silent,
        "skipped": sorted(outcomes.skipped),
        "unexpected": outcomes.unexpected,
        "rejected": sorted(outcomes.rejected),
        **missing(outcomes),
        **({"dry_run": True} if call.dry_run else {}),
        "stopped": call.stopped or None,
        "aggregates": [result.to_data() for result in aggregates.compute(call.action, replies)],
        "timing_ms": {"discovery": round(call.discovery_ms, 3), "total": round(call.total_ms, 3)},
    }


def missing(outcomes: Outcomes) -> dict[str, Any]:
    """Return the members about nodes that may be missing among the expected ones, by name; none if there are none."""
    found = {"not_asked": dict(outcomes.not_asked), "not_evaluated": dict(outcomes.not_evaluated)}
    return {name: reasons for name, reasons in found.items() if reasons}


def reply_event(reply: Reply, action: Action) -> dict[str, Any]:
    """Return the event of a reply: `event`, and the members of the reply in the document."""
    return {"event": "reply", **_reply(reply, action)}


def end_event(call: CallView) -> dict[str, Any]:
    """Return the last event of a call."""
    return {"event": "end", **{name: value for name, value in document(call).items() if name not in _NOT_IN_END}}


def write_document(call: CallView, stream: TextIO, *, by_identity: bool = False) -> None:
    """Write the document of a finished call."""
    write_json(document(call, by_identity=by_identity), stream)


def write_event(event: Mapping[str, Any], stream: TextIO) -> None:
    """Write one event on its own line and flush it, for programs that follow the output."""
    write(json.dumps(event) + "\n", stream)
    stream.flush()


_NOT_IN_END = ("schema", "replies")


def _reply(reply: Reply, action: Action) -> dict[str, Any]:
    return {
        "sender": reply.sender,
        "statuscode": reply.statuscode,
        "statusmsg": reply.statusmsg,
        "reason": reply.reason,
        "data": shallow(action.masked(reply.data)),
        "elapsed_ms": reply.elapsed_ms,
    }
