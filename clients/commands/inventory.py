"""`crpc inventory NODE`: all that one node says of itself."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from collective.clients import options
from collective.clients.asking import asked
from collective.clients.render.text import clean_line, in_words
from collective.filters import parse
from collective.names import check_identity


def run(arguments: Sequence[str]) -> int:
    """Ask one node, by name, what filters can ask about it, and what its agents are."""
    parser = options.Parser("crpc inventory", description="Show all that one node says of itself.")
    parser.add_argument("node")
    parser.add_argument("-T", "--target", metavar="NAME", help="another collective that the configuration knows")
    options.add_running(parser)
    given = parser.parse_args(arguments)
    wanted = parse(with_identity=[check_identity(given.node)])
    for action, show in (("inventory", _show_inventory), ("agent_inventory", _show_agents)):
        with asked(given, action, {}, options.Targets(wanted, None, None, None)) as call:
            code = call.wait().exit_code()
        if code:
            for reply in call.outcomes.replies.values():
                sys.stderr.write(f"crpc: {clean_line(reply.sender)}: {clean_line(reply.statusmsg)}\n")
            if call.outcomes.silent:
                sys.stderr.write(f"crpc: {given.node}: no response\n")
            return code
        for reply in call.outcomes.replies.values():
            show(reply.data)
    return 0


def _show_inventory(data: Mapping[str, Any]) -> None:
    _show("Node", (f"{name}: {in_words(data[name])}" for name in ("collective", "version")))
    _show("Classes", data["classes"])
    _show("Facts", (f"{name} = {in_words(value)}" for name, value in sorted(data["facts"].items())))


def _show_agents(data: Mapping[str, Any]) -> None:
    described = ((agent["agent"], agent.get("version"), agent.get("description")) for agent in data["agents"])
    _show("Agents", (f"{name} {version}: {text}" for name, version, text in described))


def _show(heading: str, lines: Iterable[str]) -> None:
    sys.stdout.write(f"{heading}:\n\n" + "".join(f"   {clean_line(line)}\n" for line in lines) + "\n")
