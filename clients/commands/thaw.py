"""`crpc thaw`: end a freeze of nodes."""

from __future__ import annotations

from collections.abc import Sequence

from collective.clients.commands import COMMANDS
from collective.clients.control_calls import add_options, control
from collective.clients.parser import Parser


def make_parser() -> Parser:
    """Return the parser of `crpc thaw`."""
    parser = Parser(
        "crpc thaw",
        description=f"{COMMANDS['thaw']}.\n\nWithout target options these are all nodes.",
        examples=["crpc thaw", "crpc thaw -F az=a"],
    )
    add_options(parser)
    return parser


def run(arguments: Sequence[str]) -> int:
    """End the freeze; return the exit code."""
    return control(make_parser().parse_args(arguments), "thaw", {})
