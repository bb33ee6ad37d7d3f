"""Find what the first word of a command line names; nothing is looked up that an earlier place has.

command     clients/commands             `crpc ping`
agent       a DDL                        `crpc package install …`
plug-in     plugin_commands.py           `crpc foo`: from an installed package, or the program `crpc-foo`
otherwise   clients/commands/rpc.py, which reports an unknown agent
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from collective.clients.commands import COMMANDS
from collective.errors import ConfigError
from collective.suggestions import suggest

if TYPE_CHECKING:
    from collective.clients.parser import Parser
    from collective.clients.plugin_commands import PluginCommand


@dataclass(frozen=True)
class Found:
    """What a command line runs: `run` returns the exit code; `make_parser` is None for requests and programs."""

    run: Callable[[], int]
    make_parser: Callable[[], Parser] | None = None
    is_plugin: bool = False


def find(words: Sequence[str]) -> Found:
    """Return what the command line `words` runs. Raises ConfigError for a plug-in that cannot be used."""
    name, *rest = words
    if name in COMMANDS:
        module = importlib.import_module(f"collective.clients.commands.{name.replace('-', '_')}")
        return Found(partial(module.run, rest), getattr(module, "make_parser", None))
    if not is_agent(words) and (plugin := _plugin(name)):
        return Found(partial(plugin.run, rest), plugin.make_parser, is_plugin=True)
    from collective.clients.commands import rpc

    return Found(partial(rpc.run, words))


def is_agent(words: Sequence[str]) -> bool:
    """Return whether the first word is an agent, or may be one: a configuration that cannot be read may have it."""
    from collective.catalog import Catalog
    from collective.config import client_file, load_client

    name = words[0]
    if name in Catalog().paths:
        return True
    given = config_file(words)
    try:
        path = given or client_file()
    except ConfigError:
        return False
    try:
        catalog = Catalog(load_client(path).ddls)
    except ConfigError:
        return True  # reported by the request
    return name in catalog.paths or name in catalog.ruby_paths


def config_file(words: Sequence[str]) -> Path | None:
    """Return the file of `--config` in a command line; None if it has none."""
    given = option_value(words, "--config")
    return Path(given) if given else None


def option_value(words: Sequence[str], *names: str) -> str | None:
    """Return the value of an option in a command line that may be incomplete or have unknown options."""
    for place, word in enumerate(words):
        if word == "--":
            break
        name, equals, value = word.partition("=")
        if name in names:
            return value if equals else next(iter(words[place + 1 :]), None)
    return None


def plugins() -> list[PluginCommand]:
    """Return the commands of plug-ins, sorted by name; those with the name of a command of crpc are not used."""
    from collective.clients import plugin_commands

    return [one for one in plugin_commands.usable() if one.name not in COMMANDS]


def hint(name: str, agents: Iterable[str]) -> str:
    """Return `did you mean 'x'?` for the command or plug-in closest to an unknown word, unless it is an agent."""
    if name in agents:
        return ""
    return suggest(name, COMMANDS) or suggest(name, [one.name for one in plugins()])


def _plugin(name: str) -> PluginCommand | None:
    from collective.clients import plugin_commands

    return plugin_commands.find(name)
