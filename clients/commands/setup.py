"""`crpc setup`: create, update or remove the AWS resources of a collective."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from collective.clients import confirmation, node_groups, options, output, setup_plans
from collective.clients.commands import COMMANDS
from collective.clients.node_lists import read_nodes
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.config import ClientConfig
from collective.errors import UsageError


def make_parser() -> Parser:
    """Return the parser of `crpc setup`."""
    parser = Parser(
        "crpc setup",
        description=f"{COMMANDS['setup']}.\n\n"
        "Create the topic and the tables of a collective and their policies, and update those that differ. The"
        " changes are shown and need confirmation. A policy that differs is replaced as a whole; tags that "
        "collective does not use are kept. Nodes create their own queues when they start.",
        examples=[
            "crpc setup --dry-run",
            "crpc setup --node 'web[01-20].my.net' --dry-run",
            "crpc setup --stream --ec2-events --dry-run",
            "crpc setup --remove --dry-run",
            "crpc setup --policies",
            "crpc setup --policies -o json",
        ],
    )
    options.add_target(parser)
    scope = parser.add_mutually_exclusive_group()
    scope.add_argument(
        "--node",
        action="append",
        default=[],
        metavar="NAME",
        help="also create the queue of a node that may not do so itself: NAME, web[01-20].my.net, @GROUP (repeatable)",
    )
    scope.add_argument("--nodes", metavar="FILE", help="the same for the names in a file, one per line ('-': stdin)")
    scope.add_argument("--remove", action="store_true", help="remove the topic, the tables and all queues")
    scope.add_argument(
        "--policies",
        action="store_true",
        help="print the IAM policies of nodes, callers and operators, filled in; change nothing",
    )
    parser.add_argument(
        "--stream", action="store_true", help="also let the table have a stream, which 'crpc watch' and nodes follow"
    )
    parser.add_argument(
        "--ec2-events",
        action="store_true",
        help="also make a rule of EventBridge and a queue, which tell watchers about terminated instances",
    )
    setup_plans.add_options(parser)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Compare what exists with what is needed, show the differences, and apply them; return the exit code."""
    args = make_parser().parse_args(arguments)
    config = options.client_config(args)
    _check(args, config)
    nodes = _nodes(args, config)
    if args.policies:
        return _print_policies(config, args)
    return _remove(config, args) if args.remove else _create(config, args, nodes)


def _check(args: argparse.Namespace, config: ClientConfig) -> None:
    """Raise UsageError for options that have no effect together."""
    for option, given in (("--stream", args.stream), ("--ec2-events", args.ec2_events)):
        if given and (args.remove or args.policies):
            raise UsageError(f"{option}: not allowed with --remove or --policies")
        if given and not _has_registry(config):
            raise UsageError(f"{option}: no registry to watch (client.yaml has 'registry: none')")


def _print_policies(config: ClientConfig, args: argparse.Namespace) -> int:
    """Print the policies: as text each with its name, as JSON one document."""
    from collective.setup.aws_inventory import Cloud
    from collective.setup.iam_policies import PURPOSES, filled

    account = Cloud.connect(config).account
    policies = filled(account, config.collective)
    document = {
        "collective": config.collective,
        "account": account.number,
        "region": account.region,
        "policies": policies,
    }
    rows = [(name, PURPOSES[name], policy) for name, policy in policies.items()]

    def text() -> str:
        return "\n".join(f"# {name}: {purpose}\n{json.dumps(policy, indent=2)}\n" for name, purpose, policy in rows)

    output.show(args, Output("policies", document, ("name", "purpose", "policy"), rows, text))
    return 0


def _nodes(args: argparse.Namespace, config: ClientConfig) -> list[str]:
    if args.nodes is None:
        return node_groups.names(args.node, config, "--node")
    return node_groups.names(read_nodes(args.nodes), config, "--nodes")


def _create(config: ClientConfig, args: argparse.Namespace, nodes: Sequence[str]) -> int:
    from collective.setup.aws_inventory import Cloud
    from collective.setup.creation import Extras, creation

    plan = creation(
        Cloud.connect(config),
        config.collective,
        registry=_has_registry(config),
        runs=_has_runs(config),
        nodes=nodes,
        extras=Extras(args.stream, args.ec2_events),
    )
    return setup_plans.confirm_and_apply(plan, args)


def _remove(config: ClientConfig, args: argparse.Namespace) -> int:
    from collective.setup.aws_inventory import Cloud
    from collective.setup.removal import removal

    plan = removal(Cloud.connect(config), config.collective, registry=_has_registry(config), runs=_has_runs(config))
    return setup_plans.confirm_and_apply(plan, args, confirm=lambda: _confirm_removal(config.collective))


def _confirm_removal(collective: str) -> bool:
    question = f"This removes the whole collective. Type its name, '{collective}', to continue: "
    return confirmation.ask(question) == collective


def _has_registry(config: ClientConfig) -> bool:
    return config.registry != "none"


def _has_runs(config: ClientConfig) -> bool:
    """Return whether rollouts may be recorded in DynamoDB."""
    return config.runs == "shared" or (config.runs == "auto" and _has_registry(config))
