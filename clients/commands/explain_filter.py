"""`crpc explain-filter`: describe in English what target options select; no request is sent."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from collective.clients import options, output
from collective.clients.commands import COMMANDS
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.text import escape_controls

if TYPE_CHECKING:
    from collective.fleet.targets import Targets

_COLUMNS = ("condition",)


def make_parser() -> Parser:
    """Return the parser of `crpc explain-filter`."""
    parser = Parser(
        "crpc explain-filter",
        description=f"{COMMANDS['explain-filter']}.\n\n"
        "No request is sent. An error in an option is reported with its column.",
        examples=["crpc explain-filter -F role=web -C apache", "crpc explain-filter -S 'role=web and not apache'"],
    )
    options.add_targets(parser)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print what the target options select; return the exit code."""
    args = make_parser().parse_args(arguments)
    targets = options.targets(args)
    document = _document(targets, args)
    rows = [[line.strip()] for line in document["explanation"]]
    output.show(args, Output("explain-filter", document, _COLUMNS, rows, lambda: _text(targets, args)))
    return 0


def _sets(args: Namespace) -> list[str]:
    """Return the line about the values of `-I` that are sets of nodes."""
    return [f"only nodes in {escape_controls(' , '.join(args.with_identity))}"] if _is_set(args) else []


def _is_set(args: Namespace) -> bool:
    from collective.fleet.node_sets import is_expression

    return any(map(is_expression, args.with_identity))


def _text(targets: Targets, args: Namespace) -> str:
    from collective.filters import explain
    from collective.nodesets import fold

    lines = [explain(targets.filter)]
    if targets.nodes is not None:
        lines.append(f"only these nodes: {fold(targets.nodes)}")
    lines += _sets(args)
    if targets.limit is not None:
        lines.append(f"at most {targets.limit} of them, selected at random")
    return "\n".join(lines) + "\n"


def _document(targets: Targets, args: Namespace) -> dict[str, Any]:
    from collective.filters import explain, to_options, uses_data

    return {
        "explanation": [*explain(targets.filter).split("\n"), *_sets(args)],
        "sets": args.with_identity if _is_set(args) else None,
        "options": to_options(targets.filter),
        "filter": targets.filter.to_data(),
        "data_functions": [{"function": name, "query": query} for name, query in uses_data(targets.filter)],
        "limit": None if targets.limit is None else str(targets.limit),
        "nodes": None if targets.nodes is None else list(targets.nodes),
    }
