"""`crpc approve ID|FILE`: sign a request of another caller, so that nodes whose policy requires approvals run it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from collective.clients import options
from collective.clients.commands import COMMANDS
from collective.clients.completed_by import completed_by
from collective.clients.confirmation import ask_whether
from collective.clients.parser import Parser
from collective.clients.plan_summary import call_line, find_plan, read_plan, step_lines
from collective.clients.streams import notice, write
from collective.errors import PlanRefused, UsageError
from collective.text import escape_controls, plural


def make_parser() -> Parser:
    """Return the parser of `crpc approve`."""
    parser = Parser(
        "crpc approve",
        description=f"{COMMANDS['approve']}.\n\nThe plan is shown, and signed with this caller's key after a yes. The "
        "signature covers the action, its inputs, the nodes, the reason, the time of a job, hooks, gates, the caller "
        "and the expiry; a changed plan needs new approvals.",
        examples=[
            "crpc request shell run uptime -F role=web --file plan.json",
            "crpc approve plan.json",
        ],
    )
    request = parser.add_argument("request", metavar="ID|FILE", help="a request that 'crpc request' lists, or a file")
    completed_by("file", request)
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    options.add_target(parser)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Show the plan, add this caller's signature, and return the exit code."""
    args = make_parser().parse_args(arguments)

    from collective.fleet.approvals import approve
    from collective.fleet.plan_signature import planner_key
    from collective.signing import caller_key

    config = options.client_config(args)
    place = find_plan(args.request, config)
    plan = read_plan(place, config)
    _check_time(plan, args.request)
    key = planner_key(plan)
    if key is None:
        raise PlanRefused("it is not signed, so anyone may have changed it (its planner needs a key)")
    write("\n".join([_summary(plan, key.fingerprint), *(f"  {line}" for line in step_lines(plan))]) + "\n")
    if not args.yes and not ask_whether("approve?"):
        raise PlanRefused("not approved (--yes approves without a question)")
    sign = cache(caller_key.signing(config.key))
    approved = approve(_unchanged(plan, read_plan(place, config)), config.caller, sign)
    while not place.replace(approved):  # another caller has signed it meanwhile
        approved = approve(_unchanged(plan, read_plan(place, config)), config.caller, sign)
    signed = plural(len(approved["approval"]["signatures"]), "caller")
    notice(f"approved by {signed}: 'crpc apply {args.request}' runs it")
    return 0


def _check_time(plan: Mapping[str, Any], name: str) -> None:
    """Raise UsageError when approvals of a plan would not be valid any more."""
    from collective.fleet.approvals import expires

    if expires(plan) < time.time():
        raise UsageError(f"{name}: the time for approvals is over (make a new plan)")


def _unchanged(seen: Mapping[str, Any], now: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the plan as it is now, with the signatures of others; raise PlanRefused if it is another plan."""
    if seen["approval"]["document"] != now["approval"]["document"] or seen["signature"] != now["signature"]:
        raise PlanRefused("it was replaced while it was shown (look at it again)")
    return now


def _summary(plan: Mapping[str, Any], fingerprint: str) -> str:
    """Return what is signed in one line, with the account: the same collective can exist in another one."""
    from collective.fleet.approvals import read_document

    nodes = [name for wave in plan["waves"] for name in wave["nodes"]]
    where = f"{plan['collective']} in {read_document(plan['approval']['document'])['installation']}"
    planner = f"{plan['caller']} with the key {fingerprint}"
    return f"{call_line(plan, nodes)} of {escape_controls(where)}, planned by {escape_controls(planner)}"
