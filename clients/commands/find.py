"""`crpc find`: list the nodes that match, or count them."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from collective.clients import options, output
from collective.clients.commands import COMMANDS
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.clients.streams import notice
from collective.errors import NoNodes
from collective.exit_codes import FAILED, NO_NODES, OK, SILENT
from collective.text import plural

if TYPE_CHECKING:
    from collective.fleet.discovery import Discovery


def make_parser() -> Parser:
    """Return the parser of `crpc find`."""
    parser = Parser(
        "crpc find",
        description=f"{COMMANDS['find']}.\n\nThe target options are those of every call, so that the targets of a call "
        "can be checked first. Names are looked up, too: a named node that does not exist is reported, with exit "
        "code 3.",
        examples=[
            "crpc find -F role=web",
            "crpc find --count",
            "crpc find -S 'role=web and not environment=production'",
            "crpc find --limit 2 --limit-seed 7",
            "crpc find -F role=web --max-age 60 --json",
        ],
    )
    options.add_targets(parser)
    options.add_max_age(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="print no warnings")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print the matching nodes; exit 1 if there are none, 2 or 3 if nodes may be missing."""
    args = make_parser().parse_args(arguments)
    config = options.client_config(args)
    targets = options.targets(args)

    from collective.fleet.discovery import Discovery
    from collective.fleet.fleet import Fleet
    from collective.fleet.silence import silence_lines

    began = time.monotonic()
    with Fleet.connect(config, recent=args.max_age) as fleet:
        try:
            found = fleet.find(targets, verify=True)
        except NoNodes:
            if args.only != "count":
                raise
            found = Discovery()
        reasons = fleet.why_silent(found.silent)
    nodes = list(found.nodes)
    for line in (*found.incomplete(), *silence_lines(reasons)):
        notice(line)
    if args.verbose:
        elapsed_ms = (time.monotonic() - began) * 1000
        notice(f"discovered {plural(len(nodes), 'node')} in {elapsed_ms:.2f} ms")
    _show(args, {"collective": config.collective, "count": len(nodes), "nodes": nodes, **_missing(found)})
    return _exit_code(found, config.expect_all)


def _missing(found: Discovery) -> dict[str, Any]:
    """Return the nodes that may be missing, by the reason."""
    missing = {"silent": list(found.silent), "absent": found.absent}
    missing |= {"not_asked": found.not_asked, "not_evaluated": found.not_evaluated}
    return {name: value for name, value in missing.items() if value}


def _show(args: argparse.Namespace, document: Mapping[str, Any]) -> None:
    """Print the document, or the names of the nodes, or their number."""
    nodes = document["nodes"]
    if args.only == "count" and not (args.where or args.fields or args.sort or args.jmespath):
        count = len(nodes)
        output.deliver(args, Output("find", document, ["count"], [[count]], lambda: f"{count}\n"))
    else:
        rows = [[name] for name in nodes]
        output.show(args, Output("find", document, ["node"], rows, lambda: "".join(f"{name}\n" for name in nodes)))


def _exit_code(found: Discovery, expect_all: bool) -> int:
    if found.not_evaluated:
        return FAILED
    if found.silent or found.absent or (expect_all and found.not_asked):
        return SILENT
    return OK if found.nodes else NO_NODES
