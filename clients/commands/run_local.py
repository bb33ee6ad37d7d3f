"""`crpc run-local AGENT ACTION [KEY=VALUE …]`: run an action on this machine and print what a caller would see."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from collective.clients import input_options, options
from collective.clients.commands import COMMANDS
from collective.clients.completed_by import completed_by
from collective.clients.inputs import read_inputs
from collective.clients.parser import Parser
from collective.clients.results import CallOutput, present
from collective.clients.view_options import add_views

if TYPE_CHECKING:
    from collective.authoring.folders import AgentFolder
    from collective.ddl import Action


def make_parser() -> Parser:
    """Return the parser of `crpc run-local`."""
    parser = Parser(
        "crpc run-local",
        usage="crpc run-local AGENT ACTION [KEY=VALUE ...] [options]",
        description=f"{COMMANDS['run-local']}.\n\nNeither a daemon nor AWS is needed. The action runs in a process of "
        "its own as this user, with the same checks and limits as on a node, and changes this machine.",
        examples=["crpc run-local rpcutil ping", "crpc run-local disk_space usage path=/ --folder ."],
    )
    completed_by(
        "agent",
        parser.add_argument("agent", metavar="AGENT", help="name of an agent of the folder, or of a standard agent"),
    )
    completed_by("described", parser.add_argument("action", metavar="ACTION", help="name of the action"))
    completed_by("request", parser.add_argument("inputs", metavar="KEY=VALUE", nargs="*", help="inputs of the action"))
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(),
        metavar="FOLDER",
        help="folder with agents, ddl and settings (default: .)",
    )
    parser.add_argument("--facts", type=Path, metavar="FILE", help="YAML file with the node's facts (default: none)")
    parser.add_argument(
        "-t", "--timeout", type=options.seconds, metavar="DURATION", help="how long the action may take"
    )
    options.add_dry_run(parser)
    add_views(parser)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Run the action and print the reply; return the exit code that `crpc` would have."""
    parser = make_parser()
    words = input_options.as_words(arguments, parser, lambda: _inputs(parser, arguments))
    args = parser.parse_args(words)
    from collective.authoring.folders import AgentFolder
    from collective.authoring.local import local_fleet

    folders = AgentFolder.of(args.folder)
    action = _action(folders, args)
    data = action.check_input(read_inputs(args.inputs, action))
    with local_fleet(folders, args.agent, args.facts) as fleet:
        call = fleet.call(args.agent, args.action, data, timeout=args.timeout, dry_run=args.dry_run)
        return present(CallOutput(call, args), call, fleet)


def _inputs(parser: Parser, words: Sequence[str]) -> Collection[str]:
    """Return the inputs of the action in the words of a command line that may have options which are inputs."""
    from collective.authoring.folders import AgentFolder

    args, _ = parser.parse_known_args(words)
    return _action(AgentFolder.of(args.folder), args).inputs


def _action(folders: AgentFolder, args: argparse.Namespace) -> Action:
    from collective.catalog import Catalog

    return Catalog([folders.ddl]).action(args.agent, args.action)
