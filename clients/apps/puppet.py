"""`crpc puppet runall N`: run Puppet on all matching nodes, at most N at a time; see `_runall`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from collective.clients import options, output
from collective.clients.apps import ExtraVerb
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.clients.streams import notice, write
from collective.errors import NoNodes, TooManyTargets
from collective.exit_codes import FAILED, OK, SILENT
from collective.text import escape_controls, plural

if TYPE_CHECKING:
    from collective.clients.apps._runall import PuppetRun
    from collective.fleet.fleet import Fleet
    from collective.messages import Reply

_COLUMNS = ("node", "ok", "end", "changed_resources", "failed_resources")


def make_parser() -> Parser:
    """Return the parser of `crpc puppet runall`."""
    from collective.fleet.amounts import read_count

    parser = Parser(
        "crpc puppet runall",
        description="Run Puppet on many nodes, at most N at a time, and wait for all of them.\n\n"
        "Runs that are going on already count. A run that does not end keeps its place until --run-timeout.",
        examples=["crpc puppet runall 5 -F role=web"],
    )
    parser.add_argument("places", type=partial(read_count, "N"), metavar="N", help="number of runs at a time")
    parser.add_argument(
        "--run-timeout", type=options.seconds, default=3600.0, metavar="SECONDS", help="time limit of one run (3600)"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    options.add_targets(parser)
    options.add_running(parser)
    return parser


def runall(arguments: Sequence[str]) -> int:
    """Run Puppet on all matching nodes; return the exit code."""
    args = make_parser().parse_args(arguments)
    config = options.client_config(args)
    wanted = options.targets(args)
    from collective.clients.apps._runall import RunAll
    from collective.fleet.fleet import Fleet

    with Fleet.connect(config) as fleet:
        found = fleet.find(wanted, "puppet")
        for line in found.incomplete():
            notice(line)
        if not found.nodes:
            raise NoNodes(found.why_none)
        _confirm(args, list(found.nodes), config.max_targets)
        work = RunAll(partial(ask, fleet, args), found.nodes, args.places, partial(_show, args), args.run_timeout)
        work.run()
        ended = list(work.runs.values())
        summaries = ask(fleet, args, "last_run_summary", [one.node for one in ended if one.ok])
    return _print(args, ended, summaries)


def ask(fleet: Fleet, args: argparse.Namespace, action: str, nodes: Sequence[str]) -> Mapping[str, Reply]:
    """Call an action on nodes; return the replies by node."""
    from collective.fleet.targets import Targets

    if not nodes:
        return {}
    # The nodes were confirmed at the start.
    call = fleet.call(
        "puppet", action, targets=Targets(nodes=nodes), timeout=args.timeout, ttl=args.ttl, confirm=_confirmed
    )
    return call.wait().replies


def _confirmed(_nodes: list[str]) -> bool:
    return True


def _confirm(args: argparse.Namespace, nodes: list[str], max_targets: int) -> None:
    """Ask before Puppet runs on more than `max_targets` nodes. Raises TooManyTargets without confirmation."""
    if args.yes or not 0 < max_targets < len(nodes):
        return
    from collective.clients.confirmation import ask_whether

    if not ask_whether(f"run Puppet on {plural(len(nodes), 'node')}?"):
        raise TooManyTargets.by_limit(len(nodes), max_targets)


def _show(args: argparse.Namespace, one: PuppetRun) -> None:
    if args.output == "text":
        write(escape_controls(f"{one.node}: {one.end}") + "\n")


def _print(args: argparse.Namespace, ended: Sequence[PuppetRun], summaries: Mapping[str, Reply]) -> int:
    rows = []
    for one in ended:
        data = summaries[one.node].data if one.node in summaries else {}
        counts = [data.get(name) for name in _COLUMNS[3:]]
        rows.append([one.node, one.ok and not counts[1], one.end, *counts])
    failed = sum(not row[1] for row in rows)
    document = {"runs": [dict(zip(_COLUMNS, row, strict=True)) for row in rows]}
    text = f"\nFinished Puppet on {plural(len(rows), 'node')}, {failed} failed\n"
    output.show(args, Output("puppet-runall", document, _COLUMNS, rows, lambda: _resources(rows) + text))
    if any(not row[1] and not one.silent for row, one in zip(rows, ended, strict=True)):
        return FAILED
    return SILENT if failed else OK


def _resources(rows: Sequence[Sequence[object]]) -> str:
    """Return a line for each node whose run changed resources or failed on some."""
    lines = [f"{row[0]}: {row[3]:g} changed, {row[4]:g} failed\n" for row in rows if row[3] or row[4]]
    return "\n" + "".join(lines) if lines else ""


VERBS = {"runall": ExtraVerb("Run Puppet on many nodes, N at a time", runall, make_parser)}
