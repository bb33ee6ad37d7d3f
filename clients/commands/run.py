"""`crpc run`: list rollouts with their callers, show them, pause, resume and stop them, and take them over."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from collective.clients import (
    detached,
    found_rollouts,
    options,
    output,
    rollout_lists,
    run_records,
    saved_runs,
    taking,
)
from collective.clients.commands import COMMANDS
from collective.clients.completed_by import completed_by
from collective.clients.notify_options import add_notify
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.clients.results import CallOutput, show_results
from collective.clients.streams import notice
from collective.clients.view_options import add_views
from collective.exit_codes import OK

if TYPE_CHECKING:
    from collective.clients.found_rollouts import FoundRollout
    from collective.config import ClientConfig


def make_parser() -> Parser:
    """Return the parser of `crpc run`."""
    parser = Parser(
        "crpc run",
        description=f"{COMMANDS['run']}.\n\nThe ID is the one that 'crpc run list' shows, its first digits, or 'last'. "
        "--detach and 'runs: shared' in client.yaml keep rollouts in DynamoDB, where every caller with a trusted key "
        "can steer them. Other rollouts can be steered on the machine where they run.",
        examples=["crpc run list", "crpc run pause last", "crpc run take last"],
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="list|show|log|pause|resume|stop|take")
    listing = verbs.add_parser(
        "list", help="list rollouts, the newest first", examples=["crpc run list", "crpc run list --all -o table"]
    )
    listing.add_argument("--all", action="store_true", help="also those that are complete")
    show = verbs.add_parser(
        "show", help="print the results of a rollout so far", examples=["crpc run show last -o table"]
    )
    add_views(show)
    log = verbs.add_parser(
        "log", help="list the waves, gates, orders and takeovers of a rollout", examples=["crpc run log last"]
    )
    pause = verbs.add_parser(
        "pause", help="reach no further node until it is resumed", examples=["crpc run pause last"]
    )
    resume = verbs.add_parser("resume", help="go on with a paused rollout", examples=["crpc run resume last"])
    stop = verbs.add_parser("stop", help="reach no further node, and end", examples=["crpc run stop last"])
    take = verbs.add_parser(
        "take",
        help="go on with a rollout whose caller has ended",
        examples=["crpc run take last", "crpc run take last --detach"],
    )
    take.add_argument("words", nargs="*", metavar="KEY=VALUE", help="secret inputs, which the record does not have")
    take.add_argument("--yes", action="store_true", help="do not ask whether to go on with a rollout of another caller")
    add_notify(take)
    add_views(take)
    detached.add_option(take)
    take.add_argument("--in-background", action="store_true", help=argparse.SUPPRESS)
    for verb in (show, log, pause, resume, stop, take):
        completed_by(
            "run", verb.add_argument("id", metavar="ID", help="the rollout: its ID, its first digits, or last")
        )
    for verb in (listing, show, log, pause, resume, stop, take):
        options.add_target(verb)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Do what the verb says; return the exit code."""
    args = make_parser().parse_args(arguments)
    config = options.client_config(args)
    if args.verb == "list":
        return rollout_lists.show_list(args, config)
    found = found_rollouts.find(config, args.id)
    if args.verb == "show":
        return _show(args, found)
    if args.verb == "log":
        return rollout_lists.show_log(args, config, found)
    if args.verb == "take":
        return taking.take_rollout(args, config, found)
    return _order(args, config, found)


def _show(args: argparse.Namespace, found: FoundRollout) -> int:
    from collective.fleet.runs.saved_call import SavedCall

    run = found.read()
    call = SavedCall(run)
    shown = CallOutput(call, args)
    if args.output == "text" and not args.quiet:
        notice(saved_runs.described(run, whole_id=args.verbose))
    show_results(shown)
    if not run.end and not args.quiet:
        notice(f"{found.entry.state}: {len(call.outcomes.skipped)} not sent to yet")
    elif call.stopped and not args.quiet:
        notice(f"stopped: {call.stopped}")
    return OK


def _order(args: argparse.Namespace, config: ClientConfig, found: FoundRollout) -> int:
    from collective.fleet.steering.takeover import order

    steerer = run_records.steerer(config, found.store, shared=found.shared)
    order(found.store, found.entry, steerer, args.verb)
    name = saved_runs.short(found.entry.run)
    document = {"run": found.entry.run, "order": args.verb, "state": found.entry.state}
    done = {"pause": "is paused", "resume": "goes on", "stop": "stops"}[args.verb]
    text = f"run {name} {done}: no further node is reached\n" if args.verb != "resume" else f"run {name} {done}\n"
    output.show(args, Output("run-order", document, list(document), [list(document.values())], lambda: text))
    if not found.entry.is_running():
        notice(f"no caller goes on with run {name} ('crpc run take {name}' does)")
    return OK
