"""`crpc inventory NODE`: all that one node says of itself."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from collective.clients import options
from collective.clients.render.formatting import clean_line, in_words, shallow, write_json
from collective.clients.single_call import asked
from collective.fleet.targets import Targets
from collective.names import check_identity


def run(arguments: Sequence[str]) -> int:
    """Ask one node, by name, what filters can ask about it, and what its agents are."""
    parser = options.Parser("crpc inventory", description="Show all that one node says of itself.")
    parser.add_argument("node")
    options.add_target(parser)
    options.add_running(parser)
    given = parser.parse_args(arguments)
    told: dict[str, Any] = {"identity": check_identity(given.node)}
    for action in ("inventory", "agent_inventory"):  # the second one knows more of the agents
        code = _ask(given, action, told)
        if code:
            return code
    if given.json:
        write_json(shallow(told))
    else:
        _show_all(told)
    return 0


def _ask(given: argparse.Namespace, action: str, told: dict[str, Any]) -> int:
    """Add what the node answers to `told`; return the exit code, having said why it is not 0."""
    with asked(given, action, {}, Targets.select(identities=[given.node])) as call:
        outcomes = call.wait()
    for reply in outcomes.replies.values():
        told.update(reply.data)
        if not reply.ok:
            sys.stderr.write(f"crpc: {clean_line(reply.sender)}: {clean_line(reply.statusmsg)}\n")
    if outcomes.silent:
        sys.stderr.write(f"crpc: {given.node}: no response\n")
    return outcomes.exit_code()


def _show_all(told: Mapping[str, Any]) -> None:
    _show(told["identity"], (f"{name}: {in_words(told[name])}" for name in ("collective", "version")))
    _show("Classes", told["classes"])
    _show("Facts", (f"{name} = {in_words(value)}" for name, value in sorted(told["facts"].items())))
    described = ((agent["agent"], agent.get("version"), agent.get("description")) for agent in told["agents"])
    _show("Agents", (f"{name} {version}: {text}" for name, version, text in described))


def _show(heading: str, lines: Iterable[str]) -> None:
    sys.stdout.write(f"{heading}:\n\n" + "".join(f"   {clean_line(line)}\n" for line in lines) + "\n")
