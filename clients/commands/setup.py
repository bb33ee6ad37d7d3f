"""`crpc setup`: what a collective needs on AWS, made, mended or removed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from collective.clients import confirmation, options, setup_plans
from collective.clients.node_lists import read_nodes
from collective.config import ClientConfig
from collective.nodesets import unfold


def run(arguments: Sequence[str]) -> int:
    """Parse, look at what there is, show what is to change, and change it."""
    given = _parse(arguments)
    nodes = _nodes(given)
    config = options.client_config(given)
    return _remove(config, given) if given.remove else _create(config, given, nodes)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = options.Parser(
        "crpc setup",
        description="Make the topic and the table that a collective needs, with their permissions, and mend what "
        "differs, once it was shown and agreed to: a policy that is another is replaced as a whole, other tags stay. "
        "Nodes do the rest when they start.",
    )
    parser.add_argument("-T", "--target", metavar="NAME", help="another collective that the configuration knows")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--node",
        action="append",
        default=[],
        metavar="NAME",
        help="prepare the queue of a node that may not make its own, too; web[01-20].my.net, and several times",
    )
    what.add_argument("--nodes", metavar="FILE", help="the same for names, one a line; '-': standard input")
    what.add_argument("--remove", action="store_true", help="remove topic, table and all queues of nodes and callers")
    setup_plans.add_options(parser)
    return parser.parse_args(arguments)


def _nodes(given: argparse.Namespace) -> list[str]:
    named = [name for folded in given.node for name in unfold(folded)]
    return list(dict.fromkeys(named)) if given.nodes is None else read_nodes(given.nodes)


def _create(config: ClientConfig, given: argparse.Namespace, nodes: Sequence[str]) -> int:
    from collective.setup.aws_inventory import Cloud
    from collective.setup.creation import creation

    plan = creation(Cloud.connect(), config.collective, registry=_has_registry(config), nodes=nodes)
    return setup_plans.settle(plan, given)


def _remove(config: ClientConfig, given: argparse.Namespace) -> int:
    from collective.setup.aws_inventory import Cloud
    from collective.setup.removal import removal

    def agrees() -> bool:
        return confirmation.ask(f"All of it goes: type '{config.collective}' to go on: ") == config.collective

    return setup_plans.settle(
        removal(Cloud.connect(), config.collective, registry=_has_registry(config)), given, agrees
    )


def _has_registry(config: ClientConfig) -> bool:
    return config.registry != "none"
