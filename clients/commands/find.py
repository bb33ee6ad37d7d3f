"""`crpc find`: the names of the nodes that match, one a line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from collective.clients import options


def run(arguments: Sequence[str]) -> int:
    """Print who would be asked; NoNodes (exit 1) when nobody would."""
    parser = options.Parser("crpc find", description="Print the names of the nodes that match.")
    options.add_targets(parser)
    given = parser.parse_args(arguments)
    config = options.client_config(given)
    targets = options.targets(given)

    from collective.fleet.fleet import Fleet

    with Fleet.connect(config) as fleet:
        found = fleet.discover(targets.filter, nodes=targets.nodes, method=targets.method, timeout=targets.timeout)
    sys.stdout.write("".join(f"{name}\n" for name in found))
    return 0
