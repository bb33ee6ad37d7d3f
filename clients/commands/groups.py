"""`crpc groups`: list the groups of client.yaml, or the nodes of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from collective.clients import options, output
from collective.clients.commands import COMMANDS
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.config_values import GROUP_PROGRAMS
from collective.text import escape_controls

_COLUMNS = ("name", "kind", "definition")


def make_parser() -> Parser:
    """Return the parser of `crpc groups`."""
    parser = Parser(
        "crpc groups",
        description=f"{COMMANDS['groups']}.\n\nA group is used as @NAME in -I. 'crpc find -I @NAME' lists its nodes.",
        examples=["crpc groups", "crpc groups -o table"],
    )
    options.add_target(parser)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print the groups."""
    args = make_parser().parse_args(arguments)
    groups = options.client_config(args).groups
    entries = [_entry(name, group) for name, group in sorted(groups.items())]
    rows = [list(entry.values()) for entry in entries]
    width = max((len(name) for name in groups), default=0)

    def text() -> str:
        lines = [f"@{entry['name']:<{width}}  {entry['kind']}: {entry['definition']}" for entry in entries]
        return "".join(f"{escape_controls(line)}\n" for line in lines) or "client.yaml has no groups\n"

    output.show(args, Output("groups", {"groups": entries}, _COLUMNS, rows, text))
    return 0


def _entry(name: str, group: dict[str, Any]) -> dict[str, str]:
    [(kind, value)] = group.items()
    separator = " " if kind in GROUP_PROGRAMS else ","
    return {"name": name, "kind": kind, "definition": value if isinstance(value, str) else separator.join(value)}
