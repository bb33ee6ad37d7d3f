"""The JSON document of a call, and the events of `--jsonl`.

    document(call)    the whole call; schemas/results.json
    reply_event       {"event": "reply", …} when a reply arrives
    end_event         {"event": "end", …}, the document without the replies and the schema

Outputs that the DDL marks `writeOnly` are masked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from collective import schemas
from collective.clients.render import CallView
from collective.clients.render.differences import differences
from collective.clients.render.formatting import shallow
from collective.clients.render.groups import Varying, grouped
from collective.clients.render.records import NodeResult, look_up, selected
from collective.clients.render.view import View
from collective.clients.streams import write
from collective.ddl import Action
from collective.fleet import aggregates
from collective.fleet.outcomes import Outcomes

EVERYTHING = View()


def document(call: CallView, view: View = EVERYTHING) -> dict[str, Any]:
    """Return the document of a finished call; the view selects and sorts replies, and cuts their data to its fields.

    With `group_by` or `diff` it has `groups`: the values of each group of replies, and its nodes.
    """
    outcomes = call.outcomes
    found = [record for record in selected(call, view) if record.answered]
    grouping = {"groups": groups(found, view, call.action)} if view.group_by or view.diff else {}
    return {
        "schema": schemas.schema_id("results"),
        "request_id": call.request_id,
        "request_ids": call.request_ids,
        "agent": call.agent,
        "action": call.action.name,
        "collective": call.collective,
        "caller": call.caller,
        "replies": [_reply(record, view) for record in found],
        "outcomes": outcomes.counts(),
        "silent": outcomes.silent,
        "skipped": sorted(outcomes.skipped),
        "unexpected": outcomes.unexpected,
        "rejected": sorted(outcomes.rejected),
        **missing(outcomes),
        **({"dry_run": True} if call.dry_run else {}),
        "stopped": call.stopped or None,
        "aggregates": [result.to_data() for result in aggregates.compute(call.action, outcomes.replies.values())],
        **grouping,
        "timing_ms": {"discovery": round(call.discovery_ms, 3), "total": round(call.total_ms, 3)},
    }


def missing(outcomes: Outcomes) -> dict[str, Any]:
    """Return the members about nodes that may be missing among the expected ones, by name; none if there are none."""
    found = {"not_asked": dict(outcomes.not_asked), "not_evaluated": dict(outcomes.not_evaluated)}
    return {name: reasons for name, reasons in found.items() if reasons}


def groups(found: Iterable[NodeResult], view: View, action: Action) -> list[dict[str, Any]]:
    """Return the groups of replies, the largest first; with `diff` also how each differs from the first."""
    made = sorted(grouped(found, view, action), key=lambda group: -len(group.records))
    document = []
    for group in made:
        values = {name: None if isinstance(value, Varying) else shallow(value) for name, value in group.values.items()}
        entry: dict[str, Any] = {"count": len(group.records), "nodes": group.nodes, "values": values}
        if view.diff:
            changes = differences(made[0], group)
            entry["differences"] = [{"field": one.field, "usual": one.usual, "found": one.found} for one in changes]
        document.append(entry)
    return document


def reply_event(record: NodeResult, view: View = EVERYTHING) -> dict[str, Any]:
    """Return the event of a reply: `event`, and the members of the reply in the document."""
    return {"event": "reply", **_reply(record, view)}


def end_event(call: CallView, view: View = EVERYTHING) -> dict[str, Any]:
    """Return the last event of a call."""
    return {"event": "end", **{name: value for name, value in document(call, view).items() if name not in _NOT_IN_END}}


def write_event(event: Mapping[str, Any], stream: TextIO) -> None:
    """Write one event on its own line and flush it, for programs that follow the output."""
    write(json.dumps(event) + "\n", stream)
    stream.flush()


_NOT_IN_END = ("schema", "replies")


def _reply(record: NodeResult, view: View) -> dict[str, Any]:
    data = {path: look_up(record, path) for path in view.fields} if view.fields else dict(record.data)
    return {
        "sender": record.sender,
        "statuscode": record.statuscode,
        "statusmsg": record.statusmsg,
        "reason": record.reason,
        "data": shallow(data),
        "elapsed_ms": record.elapsed_ms,
    }
