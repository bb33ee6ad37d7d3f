"""`crpc approve FILE`: sign a saved plan of another caller, so that nodes whose policy requires approvals run it."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from collective.clients import options
from collective.clients.commands import COMMANDS
from collective.clients.confirmation import ask_whether
from collective.clients.parser import Parser
from collective.clients.plan_summary import call_line, read_plan, step_lines
from collective.clients.streams import notice, write
from collective.errors import PlanRefused, UsageError
from collective.text import escape_controls, plural


def make_parser() -> Parser:
    """Return the parser of `crpc approve`."""
    parser = Parser(
        "crpc approve",
        description=f"{COMMANDS['approve']}.\n\nThe plan is shown, and signed with this caller's key after a yes. The "
        "signature covers the action, its inputs, the nodes, hooks, gates, the caller and the expiry; a changed plan "
        "needs new approvals.",
        examples=[
            "crpc shell run uptime -F role=web --save-plan plan.json",
            "crpc approve plan.json",
        ],
    )
    parser.add_argument("file", metavar="FILE", type=options.path, help="the file that --save-plan has written")
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    options.add_target(parser)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Show the plan, add this caller's signature, and return the exit code."""
    args = make_parser().parse_args(arguments)

    from collective.fleet.approvals import approve, read_document
    from collective.fleet.plan_signature import planner_key
    from collective.signing import caller_key

    config = options.client_config(args)
    plan = read_plan(args.file, config)
    expires = read_document(plan["approval"]["document"])["expires"]
    if expires < time.time():
        raise UsageError(f"{args.file}: the time for approvals is over (make a new plan)")
    key = planner_key(plan)
    if key is None:
        raise PlanRefused("it is not signed, so anyone may have changed it (its planner needs a key)")
    write("\n".join([_summary(plan, key.fingerprint), *(f"  {line}" for line in step_lines(plan))]) + "\n")
    if not args.yes and not ask_whether("approve?"):
        raise PlanRefused("not approved (--yes approves without a question)")
    approved = approve(plan, config.caller, caller_key.signing(config.key))
    _replace(args.file, approved)
    notice(f"approved by {plural(len(approved['approval']['signatures']), 'caller')}: 'crpc apply {args.file}' runs it")
    return 0


def _summary(plan: Mapping[str, Any], fingerprint: str) -> str:
    """Return what is signed in one line, with the account: the same collective can exist in another one."""
    from collective.fleet.approvals import read_document

    nodes = [name for wave in plan["waves"] for name in wave["nodes"]]
    where = f"{plan['collective']} in {read_document(plan['approval']['document'])['installation']}"
    planner = f"{plan['caller']} with the key {fingerprint}"
    return f"{call_line(plan, nodes)} of {escape_controls(where)}, planned by {escape_controls(planner)}"


def _replace(path: Path, document: Mapping[str, Any]) -> None:
    """Write the plan atomically: an interrupted command leaves the old one."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        with new.open("x", encoding="utf-8") as file:  # never through a link that another user has put there
            file.write(json.dumps(document, indent=2) + "\n")
        new.replace(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None
