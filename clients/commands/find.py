"""`crpc find`: the names of the nodes that match, one a line, or how many there are."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from collective.clients import options
from collective.clients.render.formatting import write_json
from collective.errors import NoNodes
from collective.exit_codes import NO_NODES


def run(arguments: Sequence[str]) -> int:
    """Print who would be asked; exit 1 when nobody would, which `--count` says as 0."""
    parser = options.Parser("crpc find", description="Print the names of the nodes that match.")
    parser.add_argument("--count", action="store_true", help="the bare number, for monitoring")
    options.add_targets(parser)
    given = parser.parse_args(arguments)
    config = options.client_config(given)
    targets = options.targets(given)

    from collective.fleet.fleet import Fleet

    with Fleet.connect(config) as fleet:
        try:
            found = fleet.discover(targets, verify=True)
        except NoNodes:
            if not given.count:
                raise
            found = []
    if given.json:
        write_json(found)
    else:
        sys.stdout.write(f"{len(found)}\n" if given.count else "".join(f"{name}\n" for name in found))
    return 0 if found else NO_NODES
