"""`crpc nodes`: list the nodes whose keys are known, trust a new key, and prune the remains of nodes that are gone."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from collective import durations
from collective.clients import options, setup_plans
from collective.clients.render.formatting import write_json
from collective.config import ClientConfig
from collective.errors import UsageError
from collective.names import check_identity


def run(arguments: Sequence[str]) -> int:
    """Run `crpc nodes list`, `trust` or `prune`; return the exit code."""
    args = _parser().parse_args(arguments)
    config = options.client_config(args)
    if args.verb == "prune":
        return _prune(config, args)
    return _trust(config, check_identity(args.node)) if args.verb == "trust" else _list(config, args.json)


def _parser() -> options.Parser:
    parser = options.Parser("crpc nodes", description="List, trust and prune nodes.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="list|trust|prune")
    listing = verbs.add_parser("list", help="list the known nodes and the fingerprints of their keys")
    trust = verbs.add_parser("trust", help="trust the new key of a node")
    trust.add_argument("node", metavar="NAME")
    options.add_json(listing)
    prune = verbs.add_parser("prune", help="remove queues, subscriptions and registry entries of nodes that are gone")
    prune.add_argument(
        "--older-than",
        default="7d",
        metavar="AGE",
        help="only nodes not seen for this long: 36h, 7d (default: %(default)s)",
    )
    prune.add_argument("--orphans", action="store_true", help="also remove queues whose node is not in the registry")
    setup_plans.add_options(prune)
    for verb in (listing, trust, prune):
        verb.add_argument("-T", "--target", metavar="NAME", help="another collective from the configuration")
    return parser


def _list(config: ClientConfig, as_json: bool) -> int:
    from collective.fleet.known_nodes import KnownNodes

    known = sorted(KnownNodes(config.state, config.collective).keys.items())
    if as_json:
        write_json([{"identity": name, "fingerprint": key.fingerprint, "key": key.line} for name, key in known])
    else:
        sys.stdout.write("".join(f"{name:<40} {key.fingerprint}\n" for name, key in known))
    return 0


def _trust(config: ClientConfig, node: str) -> int:
    """Trust the key that the registry has for a node; without one, the key that was refused last."""
    from collective.fleet.known_nodes import KnownNodes, registered_key

    nodes = KnownNodes(config.state, config.collective)
    known, refused = nodes.keys.get(node), nodes.refused(node)
    key = registered_key(config, node) or refused
    if key is None:
        raise UsageError(f"{node}: no new key (the registry has none, and no reply was refused)")
    if key == known:
        raise UsageError(
            f"{node}: the registry still has the known key {key.fingerprint}: the refused reply came from another "
            "sender"
            if refused
            else f"{node}: {key.fingerprint} is already trusted"
        )
    nodes.trust(node, key)
    replaced = f" instead of {known.fingerprint}" if known else ""
    sys.stdout.write(f"{node}: now trusting {key.fingerprint}{replaced}\n")
    return 0


def _prune(config: ClientConfig, args: argparse.Namespace) -> int:
    """Show what nodes that are gone have left on AWS, and remove it after confirmation."""
    older_than = durations.read(args.older_than)
    if config.registry == "none":
        raise UsageError("nodes prune: no registry to find absent nodes in (client.yaml has 'registry: none')")
    from collective.setup.aws_inventory import Cloud
    from collective.setup.pruning import pruning

    cloud, name = Cloud.connect(), config.collective
    plan = pruning(cloud, cloud.registry(name), name, older_than=older_than, orphans=args.orphans)
    return setup_plans.confirm_and_apply(plan, args)
