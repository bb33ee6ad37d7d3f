"""`crpc help`: list the commands and agents; `crpc help WORD …`: show the help of one of them."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path

from collective.catalog import Catalog
from collective.clients import apps, output
from collective.clients.commands import COMMANDS, GROUPS
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.config import load_client
from collective.errors import CollectiveError, UsageError
from collective.suggestions import suggest
from collective.text import escape_controls

_USAGE = """\
usage: crpc AGENT ACTION [KEY=VALUE ...] [options]     send a request to many nodes
       crpc COMMAND [options]                          everything else
"""
_MORE = """\
Every command takes --help. 'crpc describe AGENT' shows what an agent does.
"""


def make_parser() -> Parser:
    """Return the parser of `crpc help`; `--help` is the page itself."""
    parser = Parser(
        "crpc help", add_help=False, description=f"{COMMANDS['help']}.", examples=["crpc help", "crpc help ping"]
    )
    parser.add_argument("words", nargs="*", metavar="WORD", help="a command, or an agent and an action")
    parser.add_argument("-h", "--help", action="store_true", help="show this page")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print the commands and agents in groups, or the help of one of them."""
    args = make_parser().parse_args(arguments)
    if args.words:
        return _about(args.words)
    agents, verbs = _agents(args.config), _verbs()
    entries = [("command", name, text, group) for group, names in GROUPS.items() for name, text in names.items()]
    entries += [("agent", name, text, "Agents") for name, text in agents.items()]
    entries += [("verb", name, text, "Agents") for name, text in verbs.items()]
    members = ("kind", "name", "summary", "group")
    document = {"entries": [dict(zip(members, entry, strict=True)) for entry in entries]}
    output.show(args, Output("help", document, members, entries, lambda: _page(agents, verbs)))
    return 0


def _page(agents: dict[str, str], verbs: dict[str, str]) -> str:
    lines = [_USAGE]
    width = max(map(len, (*COMMANDS, *agents, *verbs)))
    for heading, entries in (*GROUPS.items(), ("Agents", dict(sorted({**agents, **verbs}.items())))):
        lines += [
            f"{heading}:",
            *(f"  {name:<{width}}   {escape_controls(text)}" for name, text in entries.items()),
            "",
        ]
    return "\n".join([*lines, _MORE])


def _about(words: Sequence[str]) -> int:
    """Print the help page of a command or verb, or the documentation of an agent or action."""
    first, *rest = words
    if rest and (verb := apps.verbs(first).get(rest[0])):
        return verb.run(["--help"])
    name, arguments = (first, [*rest, "--help"]) if first in COMMANDS else ("describe", list(words))
    if name == "describe" and (hint := suggest(first, COMMANDS)) and first not in _agents(None):
        raise UsageError(f"there is neither an agent nor a command '{first}' ({hint})")
    command = importlib.import_module(f"collective.clients.commands.{name.replace('-', '_')}")
    code: int = command.run(arguments)
    return code


def _agents(config: Path | None) -> dict[str, str]:
    """Return the description of each agent from its DDL, which is not validated here, so that the page is fast."""
    try:
        folders = load_client(config).ddls
    except CollectiveError:
        if config:
            raise
        folders = []  # the standard agents need no configuration
    descriptions = {}
    for name, path in Catalog(folders).paths.items():
        try:
            descriptions[name] = str(json.loads(path.read_text(encoding="utf-8"))["metadata"]["description"])
        except (OSError, ValueError, KeyError, TypeError):
            descriptions[name] = f"cannot be read (see 'crpc describe {name}')"
    return descriptions


def _verbs() -> dict[str, str]:
    return {f"{agent} {name}": verb.about for agent in apps.agents() for name, verb in apps.verbs(agent).items()}
