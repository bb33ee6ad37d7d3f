"""`crpc request AGENT ACTION …`: save a signed request that other callers approve, and list those that wait."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective import durations
from collective.clients import options, request_parser, rollout_plan
from collective.clients.commands import rpc
from collective.clients.job_options import duration
from collective.clients.output import Output, show
from collective.clients.parser import Parser
from collective.clients.plan_summary import call_line, request_store
from collective.clients.prepared_call import connected, planned
from collective.clients.streams import notice
from collective.errors import NoNodes, UsageError
from collective.text import escape_controls

if TYPE_CHECKING:
    from collective.config import ClientConfig
    from collective.fleet.plan import CallPlan
    from collective.fleet.request_store import StoredPlan

_COLUMNS = ("id", "created", "expires", "caller", "agent", "action", "nodes", "approvers")
_SHOWN = 8  # digits of an ID
# Options of a call that have no meaning for one that is sent later, by 'crpc apply'.
_WITHOUT_EFFECT = ("plan", "save_plan", "policy", "dry_run", "watch", "until", "no_results", "live", "detach", "yes")


def make_parser() -> Parser:
    """Return the parser of `crpc request`."""
    parser = request_parser.make_parser(
        "crpc request",
        usage="crpc request [AGENT ACTION [KEY=VALUE ...]] [options]",
        description="Save a signed request that other callers approve.\n\nIt is saved where 'requests' of client.yaml "
        "says, for the callers of the collective, and not sent. 'crpc approve ID' adds a signature, and 'crpc apply "
        "ID' sends it, once. Without an action, the saved requests are listed.",
        examples=["crpc request", "crpc request shell run uptime -F role=web --reason CHG-4711 --expires 4h"],
    )
    group = parser.add_argument_group("request options")
    group.add_argument("--expires", type=duration, metavar="DURATION", help="how long approvals are valid (1d)")
    group.add_argument("--file", type=Path, metavar="FILE", help="save it in a new file, to be passed to the others")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Save the request, or list requests; return the exit code."""
    parser = make_parser()
    args = parser.parse_args(arguments)

    from collective.fleet.approvals import EXPIRES

    for name in _WITHOUT_EFFECT:
        if getattr(args, name):
            raise UsageError(f"--{name.replace('_', '-')}: not allowed for a request that is sent later")
    if not args.words:
        return _list(args)
    if args.expires and args.expires > EXPIRES:
        raise UsageError("--expires: approvals are valid for at most a day")
    if len(args.words) < 2:
        raise UsageError("the action is missing (crpc request AGENT ACTION)")
    config, catalog = rpc.configuration(args, args.words)
    prepared = rpc.prepare(args, args.words, config, catalog)
    with connected(config, catalog) as fleet:
        plan = planned(fleet, prepared)
        if not plan.nodes:
            raise NoNodes(plan.found.why_none)
        rollout_plan.check_cost(plan, fleet, prepared.max_cost)
        document = rollout_plan.saved_document(plan, fleet.surroundings(plan), fleet, args.expires)
    place = _save(document, config, args.file)
    name = str(args.file) if args.file else document["run"][:_SHOWN]
    entry = _entry(document, place)
    show(args, Output("requests", {"requests": [entry]}, _COLUMNS, [_row(entry)], lambda: f"{document['run']}\n"))
    if not args.quiet:
        notice(f"request saved: others sign it with 'crpc approve {name}', 'crpc apply {name}' sends it")
    prepared.notifier.send("wait", _waiting(plan, document, f"approvals of the request {name}"))
    prepared.notifier.close()
    return 0


def _save(document: dict[str, Any], config: ClientConfig, file: Path | None) -> StoredPlan:
    if file is None:
        return request_store(config).add(document)
    from collective.fleet.request_folder import PlanFile

    rollout_plan.write_new(file, document, "--file")
    return PlanFile(file)


def _list(args: argparse.Namespace) -> int:
    """Print the requests that are stored."""
    store = request_store(options.client_config(args))
    found = [_entry(document, place) for place, document in store.all().values()]
    text = "".join(f"{escape_controls(_line(entry))}\n" for entry in found) or "no requests\n"
    show(args, Output("requests", {"requests": found}, _COLUMNS, [_row(entry) for entry in found], lambda: text))
    return 0


def _entry(document: Mapping[str, Any], place: StoredPlan) -> dict[str, Any]:
    from collective.fleet.approvals import expires

    return {
        "id": document["run"],
        "file": str(place.path) if place.path else None,
        "created": document["created"],
        "expires": expires(document),
        **{name: document[name] for name in ("collective", "caller", "agent", "action", "data", "reason")},
        "nodes": _nodes(document),
        "approvers": list(document["approval"]["signatures"]),
    }


def _nodes(document: Mapping[str, Any]) -> list[str]:
    return [name for wave in document["waves"] for name in wave["nodes"]]


def _row(entry: Mapping[str, Any]) -> list[Any]:
    return [len(entry[name]) if name == "nodes" else entry[name] for name in _COLUMNS]


def _line(entry: Mapping[str, Any]) -> str:
    now = time.time()
    left = entry["expires"] - now
    state = f"expires in {durations.in_words(left)}" if left > 0 else "expired"
    approvers = ", ".join(entry["approvers"]) or "no caller yet"
    age = durations.in_words(now - entry["created"])
    what = call_line(entry, entry["nodes"])
    return f"{entry['id'][:_SHOWN]}  {what}; by {entry['caller']} {age} ago, {state}, approved by {approvers}"


def _waiting(plan: CallPlan, document: Mapping[str, Any], why: str) -> dict[str, Any]:
    """Return what a notification of a request has."""
    names = ("collective", "caller", "agent", "action", "run")
    return {
        **{name: document[name] for name in names},
        "data": document["data"],
        "nodes": len(plan.nodes),
        "waiting": list(plan.nodes),
        "why": why,
    }
