"""`crpc explain-filter`: describe in English what target options select; no request is sent."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from collective.clients import options
from collective.clients.render.formatting import write_json


def run(arguments: Sequence[str]) -> int:
    """Print what -F, -C, -A, -I, -W, -S and --nodes select; an error names the option and the column."""
    args = _parser().parse_args(arguments)
    targets = options.targets(args)
    if args.json:
        write_json(_document(targets))
    else:
        sys.stdout.write(_text(targets))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = options.Parser("crpc explain-filter", description="Describe in English which nodes target options select.")
    options.add_targets(parser)
    options.add_json(parser)
    return parser


def _text(targets: options.Targets) -> str:
    from collective.filters import explain
    from collective.nodesets import fold

    only = "" if targets.nodes is None else f"limited to these nodes: {fold(targets.nodes)}\n"
    return f"{explain(targets.filter)}\n{only}"


def _document(targets: options.Targets) -> dict[str, Any]:
    from collective.filters import explain, to_options, uses_data

    return {
        "explanation": explain(targets.filter).split("\n"),
        "options": to_options(targets.filter),
        "filter": targets.filter.to_data(),
        "data_functions": [{"function": name, "query": query} for name, query in uses_data(targets.filter)],
        "nodes": targets.nodes,
    }
