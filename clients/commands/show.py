"""`crpc show [RUN] [NODE]`: print the results of a saved call again, in any form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from collective.clients import options, saved_runs
from collective.clients.commands import COMMANDS
from collective.clients.completed_by import completed_by
from collective.clients.parser import Parser
from collective.clients.results import CallOutput, show_results
from collective.clients.streams import notice
from collective.clients.view_options import add_views
from collective.errors import UsageError
from collective.nodesets import unfold
from collective.suggestions import suggest

if TYPE_CHECKING:
    from collective.fleet.runs.saved_call import SavedCall


def make_parser() -> Parser:
    """Return the parser of `crpc show`."""
    parser = Parser(
        "crpc show",
        description=f"{COMMANDS['show']}.\n\nRUN is an ID or its first digits, 'last' (the default), or -2 for the one "
        "before the last. With NODE only the replies of these nodes are printed, whatever their status. A run whose "
        "process was killed has the replies that had arrived.",
        examples=["crpc show", "crpc show last node01.lab", "crpc show -2 -o json"],
    )
    completed_by("run", parser.add_argument("run", nargs="?", metavar="RUN", help="the saved run (default: last)"))
    completed_by(
        "node", parser.add_argument("node", nargs="?", metavar="NODE", help="a node, or several: node[01-03].lab")
    )
    add_views(parser)
    options.add_target(parser)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print a saved run; return 0."""
    args = make_parser().parse_args(arguments)
    if args.run and not args.node and not saved_runs.is_run(args.run):
        args.run, args.node = None, args.run  # 'crpc show node01.lab'
    found = saved_runs.find(args, args.run)

    from collective.fleet.runs.saved_call import SavedCall

    call = SavedCall(found)
    if args.node:
        _select(call, args.node)
        args.display = args.display or "all"
    shown = CallOutput(call, args)
    if args.output == "text" and not args.quiet:
        notice(saved_runs.described(found, whole_id=args.verbose))
    show_results(shown)
    if call.stopped and not args.quiet:
        notice(f"stopped: {call.stopped}")
    return 0


def _select(call: SavedCall, text: str) -> None:
    """Reduce a call to a node, or several: web[01-04].lab; raise UsageError for one that was not part of the call."""
    known = {*call.outcomes.expected, *call.outcomes.replies, *call.outcomes.silent}
    nodes = [text] if text in known else unfold(text)
    for node in nodes:
        if node not in known:
            hint = suggest(node, [*known, saved_runs.LAST], "'crpc show RUN -o table' lists its nodes")
            raise UsageError(f"node '{node}' is not in run {saved_runs.short(call.request_id)} ({hint})")
    call.outcomes = call.outcomes.only(nodes)
