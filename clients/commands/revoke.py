"""`crpc revoke ID`: keep a request that was sent from beginning on nodes that have not begun it."""

from __future__ import annotations

from collections.abc import Sequence

from collective.clients.commands import COMMANDS
from collective.clients.completed_by import completed_by
from collective.clients.control_calls import add_options, control
from collective.clients.parser import Parser


def make_parser() -> Parser:
    """Return the parser of `crpc revoke`."""
    parser = Parser(
        "crpc revoke",
        description=f"{COMMANDS['revoke']}.\n\nNodes that have begun it answer so and go on ('crpc jobs cancel' stops "
        "them). Nodes that receive the request later refuse it. The ID of a run is that of all its requests.",
        examples=["crpc revoke 0123456789abcdef0123456789abcdef"],
    )
    completed_by("run", parser.add_argument("id", metavar="ID", help="the ID of the request or of the run"))
    parser.add_argument("--all", action="store_true", help="also one of another caller, if the policy allows it")
    add_options(parser)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Revoke the request; return the exit code."""
    args = make_parser().parse_args(arguments)
    return control(args, "revoke", {"id": args.id, "all": args.all})
