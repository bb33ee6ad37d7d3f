"""`crpc nodes`: list the nodes whose keys are known, trust a new key, and prune the remains of nodes that are gone."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from collective import durations
from collective.clients import options, output, setup_plans
from collective.clients.commands import COMMANDS
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.config import ClientConfig
from collective.errors import UsageError
from collective.names import check_identity
from collective.nodesets import unfold

_COLUMNS = ("identity", "fingerprint", "key")


def make_parser() -> Parser:
    """Return the parser of `crpc nodes`."""
    parser = Parser(
        "crpc nodes",
        description=f"{COMMANDS['nodes']}.\n\n"
        "The key of a node is remembered when it is first seen; a reply with another key is refused until the"
        " new key is trusted.",
        examples=["crpc nodes list", "crpc nodes prune --older-than 7d --dry-run"],
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="list|trust|prune")
    listing = verbs.add_parser(
        "list",
        help="list the known nodes and the fingerprints of their keys",
        examples=["crpc nodes list", "crpc nodes list -o csv"],
    )
    trust = verbs.add_parser("trust", help="trust the new key of a node", examples=["crpc nodes trust node01.lab"])
    trust.add_argument("node", metavar="NAME")
    prune = verbs.add_parser(
        "prune",
        help="remove queues, subscriptions and registry entries of nodes that are gone",
        description="Remove queues, subscriptions and registry entries of nodes that are gone.\n\n"
        "Without NAME these are all nodes that were last seen long ago. A node that is alive is never removed.",
        examples=[
            "crpc nodes prune --dry-run",
            "crpc nodes prune --older-than 36h --yes",
            "crpc nodes prune 'web[01-03].my.net' --dry-run",
        ],
    )
    prune.add_argument(
        "names", nargs="*", metavar="NAME", help="only these nodes, whenever they were last seen: NAME or web[01-20]"
    )
    prune.add_argument(
        "--older-than",
        metavar="AGE",
        help="only nodes not seen for this long: 90s, 15m, 36h, 7d (default: 7d; with NAME: 0s)",
    )
    prune.add_argument("--orphans", action="store_true", help="also remove queues whose node is not in the registry")
    setup_plans.add_options(prune)
    for verb in (listing, trust, prune):
        options.add_target(verb)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Run `crpc nodes list`, `trust` or `prune`; return the exit code."""
    args = make_parser().parse_args(arguments)
    return {"list": _list, "trust": _trust, "prune": _prune}[args.verb](args, options.client_config(args))


def _list(args: argparse.Namespace, config: ClientConfig) -> int:
    from collective.fleet.known_nodes import KnownNodes

    known = sorted(KnownNodes(config.state, config.collective).keys.items())
    rows = [(name, key.fingerprint, key.line) for name, key in known]
    document = {"collective": config.collective, "nodes": [dict(zip(_COLUMNS, row, strict=True)) for row in rows]}
    output.show(args, Output("nodes", document, _COLUMNS, rows, lambda: _lines(rows)))
    return 0


def _lines(rows: Sequence[tuple[str, str, str]]) -> str:
    return "".join(f"{name:<40} {fingerprint}\n" for name, fingerprint, _ in rows)


def _trust(args: argparse.Namespace, config: ClientConfig) -> int:
    """Trust the key that the registry has for a node; without one, the key that was refused last."""
    from collective.fleet.known_nodes import KnownNodes, registered_key

    node = check_identity(args.node)
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
    document = {
        "collective": config.collective,
        "identity": node,
        "fingerprint": key.fingerprint,
        "replaced": known.fingerprint if known else None,
    }
    text = f"{node}: now trusting {key.fingerprint}{replaced}\n"
    output.show(args, Output("nodes-trust", document, list(document), [list(document.values())], lambda: text))
    return 0


def _prune(args: argparse.Namespace, config: ClientConfig) -> int:
    """Show what nodes that are gone have left on AWS, and remove it after confirmation."""
    names_ = [check_identity(name) for folded in args.names for name in unfold(folded)]
    if names_ and args.orphans:
        raise UsageError("nodes prune: --orphans is not allowed with names (it concerns nodes that have no record)")
    older_than = durations.read(args.older_than or ("0s" if names_ else "7d"))
    if config.registry == "none":
        raise UsageError("nodes prune: no registry to find absent nodes in (client.yaml has 'registry: none')")
    from collective.setup.aws_inventory import Cloud
    from collective.setup.pruning import pruning

    cloud, name = Cloud.connect(), config.collective
    plan = pruning(cloud, cloud.registry(name), name, older_than=older_than, orphans=args.orphans, only=names_)
    return setup_plans.confirm_and_apply(plan, args)
