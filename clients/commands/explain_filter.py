"""`crpc explain-filter`: what target options mean, in words, without asking anybody."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from collective.clients import options


def run(arguments: Sequence[str]) -> int:
    """Print the meaning of -F, -C, -A, -I, -W and -S; a mistake in them is pointed at."""
    parser = options.Parser("crpc explain-filter", description="Say what target options mean.")
    options.add_targets(parser)
    targets = options.targets(parser.parse_args(arguments))

    from collective.filters import explain

    sys.stdout.write(explain(targets.filter) + "\n")
    if targets.nodes is not None:
        from collective.nodesets import fold

        sys.stdout.write(f"Of these only: {fold(targets.nodes)}\n")
    return 0
