"""`crpc nodes`: list nodes, trust and revoke their keys, and prune the remains of nodes that are gone."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective import durations
from collective.clients import options, output, setup_plans
from collective.clients.commands import COMMANDS
from collective.clients.completed_by import completed_by
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.clients.streams import notice
from collective.config import ClientConfig
from collective.errors import ConfigError, UsageError
from collective.names import check_identity
from collective.nodesets import unfold
from collective.text import escape_controls, plural

if TYPE_CHECKING:
    from collective.fleet.node_list import ListedNode
    from collective.signing.keys import PublicKey

_COLUMNS = ("identity", "state", "last_seen", "version", "agents", "fingerprint", "key")
_UNSHARED = "only this caller knows about it: {} (repeat the command with the permission to write to the registry)"


def make_parser() -> Parser:
    """Return the parser of `crpc nodes`."""
    parser = Parser(
        "crpc nodes",
        description=f"{COMMANDS['nodes']}.\n\n"
        "The key of a node is remembered when it is first seen; a reply with another key is refused until the"
        " new key is trusted. A revoked key is refused by every caller that reads the registry.",
        examples=["crpc nodes list", "crpc nodes revoke node03.lab", "crpc nodes prune --older-than 7d --dry-run"],
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="list|trust|revoke|prune")
    listing = verbs.add_parser(
        "list",
        help="list the nodes with state, last seen, version, agents and key",
        examples=["crpc nodes list", "crpc nodes list -o csv"],
    )
    trust = verbs.add_parser(
        "trust",
        help="trust the new key of a node, or one that was revoked",
        examples=["crpc nodes trust node01.lab", "crpc nodes trust node01.lab --key node_key.pub"],
    )
    _add_key(trust, "the key, as a file or as its line (default: the key in the registry)")
    revoke = verbs.add_parser(
        "revoke",
        help="refuse the key of a node from now on, for all callers",
        examples=["crpc nodes revoke node03.lab", "crpc nodes revoke node03.lab --key SHA256:FINGERPRINT"],
    )
    _add_key(
        revoke, "the key, as a file, its line or its fingerprint (default: the known key and that in the registry)"
    )
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
    _add_pruning(prune)
    for verb in (listing, trust, revoke, prune):
        options.add_target(verb)
    return parser


def _add_key(parser: Parser, about: str) -> None:
    completed_by("node", parser.add_argument("node", metavar="NAME"))
    parser.add_argument("--key", metavar="KEY", help=about)


def _add_pruning(parser: Parser) -> None:
    some = parser.add_argument(
        "names", nargs="*", metavar="NAME", help="only these nodes, whenever they were last seen: NAME or web[01-20]"
    )
    completed_by("node", some)
    parser.add_argument(
        "--older-than",
        metavar="AGE",
        help="only nodes not seen for this long: 90s, 15m, 36h, 7d (default: 7d; with NAME: 0s)",
    )
    parser.add_argument("--orphans", action="store_true", help="also remove queues whose node is not in the registry")
    setup_plans.add_options(parser)


def run(arguments: Sequence[str]) -> int:
    """Run `crpc nodes list`, `trust`, `revoke` or `prune`; return the exit code."""
    args = make_parser().parse_args(arguments)
    verbs = {"list": _list, "trust": _trust, "revoke": _revoke, "prune": _prune}
    return verbs[args.verb](args, options.client_config(args))


def _list(args: argparse.Namespace, config: ClientConfig) -> int:
    """List the nodes; without the registry only what the known keys tell."""
    from collective.fleet.node_list import list_nodes

    nodes, error = list_nodes(config)
    if error:
        notice(f"registry cannot be read, only known keys are listed: {error}")
    rows = [_row(node) for node in nodes]
    document = {"collective": config.collective, "nodes": [dict(zip(_COLUMNS, row, strict=True)) for row in rows]}
    output.show(args, Output("nodes", document, _COLUMNS, rows, lambda: "".join(map(_line, nodes))))
    return 0


def _row(node: ListedNode) -> list[Any]:
    key = [node.key.fingerprint, node.key.line] if node.key else [None, None]
    return [node.identity, node.state, node.last_seen, node.version, list(node.agents), *key]


def _line(node: ListedNode) -> str:
    from collective.fleet.silence import ago

    seen = "-" if node.age is None else ago(node.age)
    agents = plural(len(node.agents), "agent") if node.version else node.problem or "-"
    fields = f"{node.identity:<40} {node.state:<8} {seen:<14} {node.version or '-':<10} {agents:<10}"
    return f"{escape_controls(f'{fields} {node.key.fingerprint if node.key else str()}').rstrip()}\n"


def _trust(args: argparse.Namespace, config: ClientConfig) -> int:
    """Trust a key of a node: that of `--key`, that in the registry, or the one that was refused last."""
    from collective.fleet.node_keys import NodeKeys

    node = check_identity(args.node)
    change = NodeKeys.connect(config).trust(node, _key(args.key) if args.key else None)
    [fingerprint] = change.fingerprints
    replaced = f" instead of {change.replaced}" if change.replaced else ""
    document = {
        "collective": config.collective,
        "identity": change.node,
        "fingerprint": fingerprint,
        "replaced": change.replaced,
    }
    text = f"{change.node}: now trusting {fingerprint}{replaced}\n"
    output.show(args, Output("nodes-trust", document, list(document), [list(document.values())], lambda: text))
    return _warn_unshared(change.error)


def _revoke(args: argparse.Namespace, config: ClientConfig) -> int:
    """Revoke the keys of a node for all callers."""
    from collective.fleet.node_keys import NodeKeys

    fingerprint = args.key
    if fingerprint and not fingerprint.startswith("SHA256:"):
        fingerprint = _key(fingerprint).fingerprint
    change = NodeKeys.connect(config).revoke(check_identity(args.node), fingerprint)
    document = {
        "collective": config.collective,
        "identity": change.node,
        "fingerprints": list(change.fingerprints),
        "shared": change.error is None,
    }
    text = "".join(f"{change.node}: revoked {one}\n" for one in change.fingerprints)
    rows = [[change.node, one] for one in change.fingerprints]
    output.show(args, Output("nodes-revoke", document, ["identity", "fingerprint"], rows, lambda: text))
    return _warn_unshared(change.error)


def _warn_unshared(error: str | None) -> int:
    if error:
        notice(_UNSHARED.format(error))
    return 0


def _key(text: str) -> PublicKey:
    """Return the key in a `.pub` file, or on a line of one. Raises SignatureError and ConfigError."""
    from collective.signing.keys import PublicKey

    try:
        is_file = Path(text).is_file()
        return PublicKey.from_line(Path(text).read_text(encoding="utf-8").strip() if is_file else text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{text}: cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}") from None


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

    cloud, name = Cloud.connect(config), config.collective
    plan = pruning(cloud, cloud.registry(name), name, older_than=older_than, orphans=args.orphans, only=names_)
    return setup_plans.confirm_and_apply(plan, args)
