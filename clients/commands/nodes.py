"""`crpc nodes`: the nodes that you know by their keys; `crpc nodes trust` believes a node's new one."""

from __future__ import annotations

import sys
from argparse import SUPPRESS
from collections.abc import Sequence

from collective.clients import options
from collective.config import ClientConfig
from collective.errors import UsageError
from collective.names import check_identity


def run(arguments: Sequence[str]) -> int:
    """Parse and do one of list and trust."""
    parser = options.Parser("crpc nodes", description="Show and change which keys nodes are known by.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="list|trust")
    # Suppressed: what a verb's parser does not find must not undo what was said before the verb.
    listing = verbs.add_parser("list", help="all that are known", argument_default=SUPPRESS)
    trust = verbs.add_parser("trust", help="believe the new key of a node", argument_default=SUPPRESS)
    trust.add_argument("node", metavar="NAME")
    for verb in (listing, trust):
        verb.add_argument("-T", "--target", metavar="NAME", help="another collective that the configuration knows")
    given = parser.parse_args(arguments)
    config = options.client_config(given)
    return _trust(config, check_identity(given.node)) if given.verb == "trust" else _list(config)


def _list(config: ClientConfig) -> int:
    from collective.fleet.known_nodes import KnownNodes

    for name, key in sorted(KnownNodes(config.state, config.collective).keys.items()):
        sys.stdout.write(f"{name:<40} {key.fingerprint}\n")
    return 0


def _trust(config: ClientConfig, node: str) -> int:
    """Believe the key that the registry has of a node; without one, the key that was refused last."""
    from collective.fleet.known_nodes import KnownNodes, registered_key

    known = KnownNodes(config.state, config.collective)
    before, refused = known.keys.get(node), known.refused(node)
    key = registered_key(config, node) or refused
    if key is None:
        raise UsageError(f"{node}: there is no new key: neither in the registry, nor did a reply show one")
    if key == before:
        raise UsageError(
            f"{node}: the registry has the key that is known, {key.fingerprint}: it was not the node that answered"
            if refused
            else f"{node}: {key.fingerprint} is known already"
        )
    known.trust(node, key)
    was = f", and no longer {before.fingerprint}" if before else ""
    sys.stdout.write(f"{node}: known by {key.fingerprint} from now on{was}\n")
    return 0
