"""`crpc nodes`: which nodes you know by which keys; `trust` believes a new key, `prune` tidies up after who is gone."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence

from collective import durations
from collective.clients import options, setup_plans
from collective.clients.render.formatting import write_json
from collective.config import ClientConfig
from collective.errors import UsageError
from collective.names import check_identity


def run(arguments: Sequence[str]) -> int:
    """Parse and do one of list, trust and prune."""
    parser = options.Parser("crpc nodes", description="Show and change which nodes are known, and by which keys.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="list|trust|prune")
    listing = verbs.add_parser("list", help="all that are known")
    trust = verbs.add_parser("trust", help="believe the new key of a node")
    trust.add_argument("node", metavar="NAME")
    options.add_json(listing)
    prune = verbs.add_parser("prune", help="remove queues, subscriptions and entries of nodes that are gone")
    prune.add_argument(
        "--older-than", default="7d", metavar="AGE", help="gone for so long: 36h, or days (default: %(default)s)"
    )
    prune.add_argument("--orphans", action="store_true", help="and queues that the registry knows no node of")
    setup_plans.add_options(prune)
    for verb in (listing, trust, prune):
        verb.add_argument("-T", "--target", metavar="NAME", help="another collective that the configuration knows")
    given = parser.parse_args(arguments)
    config = options.client_config(given)
    if given.verb == "prune":
        return _prune(config, given)
    return _trust(config, check_identity(given.node)) if given.verb == "trust" else _list(config, given.json)


def _list(config: ClientConfig, as_json: bool) -> int:
    from collective.fleet.known_nodes import KnownNodes

    known = sorted(KnownNodes(config.state, config.collective).keys.items())
    if as_json:
        write_json([{"identity": name, "fingerprint": key.fingerprint, "key": key.line} for name, key in known])
    else:
        sys.stdout.write("".join(f"{name:<40} {key.fingerprint}\n" for name, key in known))
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


def _prune(config: ClientConfig, given: Namespace) -> int:
    """Remove what nodes have left behind, once it was shown and agreed to."""
    older_than = durations.read(given.older_than)
    if config.registry == "none":
        raise UsageError("prune: the configuration says that there is no registry: nobody knows which nodes are gone")
    from collective.setup.aws_inventory import Cloud
    from collective.setup.pruning import pruning

    cloud, name = Cloud.connect(), config.collective
    plan = pruning(cloud, cloud.registry(name), name, older_than=older_than, orphans=given.orphans)
    return setup_plans.settle(plan, given)
