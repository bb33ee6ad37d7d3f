"""`crpc help`: list the commands and agents; `crpc help WORD …`: show the help of one of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from collective.clients import apps, lookup, options, output
from collective.clients.commands import COMMANDS, GROUPS
from collective.clients.completed_by import completed_by
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.errors import UsageError
from collective.text import escape_controls

_USAGE = """\
usage: crpc AGENT ACTION [KEY=VALUE ...] [options]     send a request to many nodes
       crpc COMMAND [options]                          everything else

"""
_MORE = """\
Every command takes --help. 'crpc describe AGENT' shows what an agent does.
"""
_AGENTS, _PLUGINS, _OWN = "Agents", "Plug-ins", "Your own commands"


class Entry(NamedTuple):
    """A line of the page; `kind` is command, agent, action, verb, alias, own command or plug-in."""

    kind: str
    name: str
    summary: str
    group: str


def make_parser() -> Parser:
    """Return the parser of `crpc help`; `--help` is the page itself."""
    parser = Parser(
        "crpc help",
        add_help=False,
        description=f"{COMMANDS['help']}.\n\nWith -v also the actions of each agent.",
        examples=["crpc help", "crpc help ping", "crpc help package install"],
    )
    completed_by(
        "help", parser.add_argument("words", nargs="*", metavar="WORD", help="a command, or an agent and an action")
    )
    parser.add_argument("-h", "--help", action="store_true", help="print this page")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print the commands and agents in groups, or the help of one of them."""
    args = make_parser().parse_args(arguments)
    if args.words:
        output.require_text(args, "a help page", "see 'crpc describe AGENT' and 'crpc help'")
        return _print_help_of(args.words)
    entries = [Entry("command", name, text, group) for group, names in GROUPS.items() for name, text in names.items()]
    agents = options.catalog(args).paths
    for name, path in sorted(agents.items()):
        entries += _of_agent(name, path, args.verbose)
    entries += [Entry("plug-in", one.name, one.about, _PLUGINS) for one in lookup.plugins() if one.name not in agents]
    own = lookup.own_commands(["--config", str(args.config)] if args.config else [])
    entries += [Entry(kind, one.name, one.about, _OWN) for kind, one in own]
    document = {"entries": [entry._asdict() for entry in entries]}
    output.show(args, Output("help", document, Entry._fields, entries, lambda: _page(entries)))
    return 0


def _page(entries: Sequence[Entry]) -> str:
    width = max(len(entry.name) for entry in entries)
    parts = [_USAGE]
    for group, members in groupby(entries, lambda entry: entry.group):
        lines = [f"  {escape_controls(one.name):<{width}}   {escape_controls(one.summary)}" for one in members]
        parts.append("\n".join([f"{group}:", *lines, "", ""]))
    return "".join([*parts, _MORE])


def _of_agent(name: str, path: Path, verbose: bool) -> list[Entry]:
    """Return the lines of an agent: its description, with `verbose` its actions, and its extra verbs.

    The DDL is not validated, so that the page is fast.
    """
    try:
        ddl = json.loads(path.read_text(encoding="utf-8"))
        summary, actions = str(ddl["metadata"]["description"]), _descriptions(ddl["actions"]) if verbose else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        summary, actions = f"cannot be read (see 'crpc describe {name}')", {}
    verbs = {verb: found.about for verb, found in apps.verbs(name).items()}
    entries = [Entry("agent", name, summary, _AGENTS)]
    entries += [Entry("action", f"{name} {word}", text, _AGENTS) for word, text in actions.items() if word not in verbs]
    return entries + [Entry("verb", f"{name} {word}", text, _AGENTS) for word, text in verbs.items()]


def _descriptions(actions: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(action["description"]) for name, action in actions.items()}


def _print_help_of(words: Sequence[str]) -> int:
    """Print the help page of a command or verb, or the documentation of an agent or action."""
    first, *rest = words
    if rest and (verb := apps.verbs(first).get(rest[0])):
        return verb.run(["--help"])
    found = lookup.find([*words, "--help"])
    if first in COMMANDS or found.is_plugin:
        return found.run()
    if hint := lookup.hint(first, options.catalog(make_parser().parse_args([])).paths):
        raise UsageError(f"there is neither an agent nor a command '{first}' ({hint})")
    return lookup.find(["describe", *words]).run()
