"""`crpc freeze --reason TEXT`: allow only read-only actions on nodes, at once and across restarts."""

from __future__ import annotations

from collections.abc import Sequence

from collective.clients.commands import COMMANDS
from collective.clients.control_calls import add_options, control
from collective.clients.parser import Parser


def make_parser() -> Parser:
    """Return the parser of `crpc freeze`."""
    parser = Parser(
        "crpc freeze",
        description=f"{COMMANDS['freeze']}.\n\nWithout target options these are all nodes, and no question is asked. "
        "Running actions are not stopped ('crpc jobs cancel' does), jobs do not begin, and 'crpc thaw' ends it.",
        examples=["crpc freeze --reason 'incident 4711'", "crpc freeze --reason 'data centre move' -F az=a"],
    )
    parser.add_argument("--reason", required=True, metavar="TEXT", help="why; callers that are refused see it")
    add_options(parser)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Freeze the nodes; return the exit code."""
    args = make_parser().parse_args(arguments)
    return control(args, "freeze", {"reason": args.reason})
