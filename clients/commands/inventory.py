"""`crpc inventory NODE`: show the facts, classes and agents of one node, or export all nodes for another tool."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from collective.clients import options, output
from collective.clients.commands import COMMANDS
from collective.clients.completed_by import completed_by
from collective.clients.exports import command as export_command
from collective.clients.missing_nodes import print_missing
from collective.clients.optional_verbs import OptionalVerbParser
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.clients.render.formatting import in_words
from collective.clients.single_call import open_call
from collective.clients.streams import notice
from collective.fleet.targets import Targets
from collective.names import check_identity
from collective.text import escape_controls


def make_parser() -> Parser:
    """Return the parser of `crpc inventory`."""
    parser = OptionalVerbParser(
        "crpc inventory",
        {"export": export_command.make_parser()},
        usage="crpc inventory NODE [options]\n       crpc inventory export --format FORMAT [options]",
        description=f"{COMMANDS['inventory']}.\n\nThese are the values that target options can select. With -v also "
        "the actions of each agent.\n\n'export' prints many nodes for another tool. The inventory of a node with that "
        "name is 'crpc rpcutil inventory -I export'.",
        examples=["crpc inventory node01.lab", "crpc inventory node01.lab -o yaml"],
    )
    completed_by("node", parser.add_argument("node", help="identity of the node"))
    options.add_target(parser)
    options.add_running(parser)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Ask one node for its inventory and print it; return the exit code of the call."""
    args = make_parser().parse_args(arguments)
    if args.verb == "export":
        return export_command.run(args)
    inventory: dict[str, Any] = {"identity": check_identity(args.node)}
    for action in ("inventory", "agent_inventory"):  # the second reply has more details of the agents
        code = _ask(args, action, inventory)
        if code:
            return code
    output.show(
        args,
        Output(
            "inventory", inventory, ["kind", "name", "value"], _rows(inventory), lambda: _text(inventory, args.verbose)
        ),
    )
    return 0


def _ask(args: Namespace, action: str, inventory: dict[str, Any]) -> int:
    """Add the outputs of an action to `inventory`; print an error line if it fails, and return the exit code."""
    with open_call(args, action, {}, Targets.select(identities=[args.node])) as (call, fleet):
        outcomes = call.wait()
        print_missing(call, fleet)
    for reply in outcomes.replies.values():
        inventory.update(reply.data)
        if not reply.ok:
            notice(f"{reply.sender}: {reply.statusmsg}")
    if outcomes.silent:
        notice(f"{args.node}: no response")
    return outcomes.exit_code()


def _rows(inventory: Mapping[str, Any]) -> list[list[Any]]:
    return [
        *(["node", name, inventory[name]] for name in ("identity", "collective", "version")),
        *(["class", name, None] for name in inventory["classes"]),
        *(["fact", name, value] for name, value in sorted(inventory["facts"].items())),
        *(["agent", agent["agent"], agent.get("version")] for agent in inventory["agents"]),
        *(["refused agent", name, why] for name, why in sorted(inventory.get("refused_agents", {}).items())),
    ]


def _text(inventory: Mapping[str, Any], verbose: bool) -> str:
    node = (f"{name}: {in_words(inventory[name])}" for name in ("collective", "version"))
    facts = (f"{name} = {in_words(value)}" for name, value in sorted(inventory["facts"].items()))
    agents = (line for agent in inventory["agents"] for line in _agent(agent, verbose))
    parts = ((inventory["identity"], node), ("Classes", inventory["classes"]), ("Facts", facts), ("Agents", agents))
    refused = [f"{name}: {why}" for name, why in sorted(inventory.get("refused_agents", {}).items())]
    text = "".join(_part(heading, lines) for heading, lines in parts)
    return text + (_part("Refused agents", refused) if refused else "")


def _agent(agent: Mapping[str, Any], verbose: bool) -> list[str]:
    actions = [f"   actions: {', '.join(agent['actions'])}"] if verbose and "actions" in agent else []
    return [f"{agent['agent']} {agent.get('version')}: {agent.get('description')}", *actions]


def _part(heading: str, lines: Iterable[str]) -> str:
    return f"{escape_controls(heading)}:\n\n" + "".join(f"   {escape_controls(line)}\n" for line in lines) + "\n"
