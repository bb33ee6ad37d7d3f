"""`crpc help`: the commands and the agents, a line each; `crpc help WORD …`: all about one of them."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence

from collective.catalog import Catalog
from collective.clients import apps
from collective.clients.commands import COMMANDS
from collective.config import load_client
from collective.errors import CollectiveError, UsageError
from collective.suggestions import suggest

_USAGE = """\
usage: crpc AGENT ACTION [KEY=VALUE ...] [options]     one request to many nodes
       crpc COMMAND [options]                          everything else

Each of them takes --help.
"""


def run(arguments: Sequence[str]) -> int:
    """Print the page; what a configuration would add is left out when there is none."""
    words = [word for word in arguments if word not in ("-h", "--help")]
    if words:
        return _about(words)
    lines = [
        _USAGE,
        "commands:",
        *_table(COMMANDS),
        "",
        "agents ('crpc describe AGENT' tells all about one):",
    ]
    lines += _table(_agents())
    lines += ["", "more of some agents:", *_table(_verbs())]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _about(words: Sequence[str]) -> int:
    """Print what a command's own --help says, or the documentation of an agent or one of its actions."""
    first, *rest = words
    if rest and (verb := apps.verbs(first).get(rest[0])):
        return verb.run(["--help"])
    module, arguments = (first, [*rest, "--help"]) if first in COMMANDS else ("describe", words)
    if module == "describe" and (meant := suggest(first, COMMANDS)) and first not in _agents():
        raise UsageError(f"there is neither an agent nor a command '{first}': {meant}")
    command = importlib.import_module(f"collective.clients.commands.{module.replace('-', '_')}")
    code: int = command.run(arguments)
    return code


def _agents() -> dict[str, str]:
    """Return what each agent's DDL says of itself; nothing else is read, so that this page comes at once."""
    try:
        folders = load_client().ddls
    except CollectiveError:
        folders = []
    descriptions = {}
    for name, path in Catalog(folders).paths.items():
        try:
            descriptions[name] = str(json.loads(path.read_text(encoding="utf-8"))["metadata"]["description"])
        except (OSError, ValueError, KeyError, TypeError):
            descriptions[name] = f"cannot be read: 'crpc describe {name}' says why"
    return descriptions


def _verbs() -> dict[str, str]:
    return {f"{agent} {name}": verb.about for agent in apps.agents() for name, verb in apps.verbs(agent).items()}


def _table(entries: dict[str, str]) -> list[str]:
    width = max(map(len, entries), default=0)
    return [f"  {name:<{width}}   {text}" for name, text in sorted(entries.items())]
