"""Find what the first word of a command line names; nothing is looked up that an earlier place has.

command     clients/commands             `crpc ping`
agent       a DDL                        `crpc package install …`
own         own_commands.py              `crpc up`: an alias of client.yaml, or a file in the folder `commands`
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
from collective.errors import CollectiveError, ConfigError, UsageError
from collective.suggestions import suggest

if TYPE_CHECKING:
    from collective.clients.parser import Parser
    from collective.clients.plugin_commands import PluginCommand
    from collective.config import ClientConfig


@dataclass(frozen=True)
class Found:
    """What a command line runs: `run` returns the exit code; `make_parser` is None for requests and programs."""

    run: Callable[[], int]
    make_parser: Callable[[], Parser] | None = None
    is_plugin: bool = False


def find(words: Sequence[str]) -> Found:
    """Return what the command line `words` runs. Raises ConfigError for an own command or plug-in that is invalid."""
    name, *rest = words
    if name not in COMMANDS and (own := _own(words)):
        return Found(partial(own.run, rest), own.make_parser, is_plugin=True)
    return find_shipped(words)


def find_shipped(words: Sequence[str]) -> Found:
    """Return what `words` runs, without the user's own commands."""
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

    name = words[0].partition("@")[0]
    if Catalog().has(name):
        return True
    given = config_file(words)
    try:
        path = given or client_file()
    except ConfigError:
        return False
    try:
        config = load_client(path)
        catalog = Catalog(config.ddls)
    except ConfigError:
        return True  # reported by the request
    return catalog.has(name) or name in catalog.ruby_paths or _was_fetched(name, config, words)


def _was_fetched(name: str, config: ClientConfig, words: Sequence[str]) -> bool:
    """Return whether the DDL of an agent was fetched from a node of the collective that a command line is for."""
    from collective.fleet.ddl_cache import FetchedDDLs

    try:
        config = config.in_collective(option_value(words, "-T", "--target"))
    except UsageError:
        return False
    return name in FetchedDDLs(config.state, config.collective).entries()


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
    own = [one.name for _, one in own_commands()]
    return suggest(name, [*COMMANDS, *own, *(one.name for one in plugins())])


def own_commands(words: Sequence[str] = ()) -> list[tuple[str, PluginCommand]]:
    """Return the kind and the command of each own command; none without a configuration that can be read."""
    from collective.clients import own_commands as own

    config = _config(words)
    return own.usable(config) if config else []


def _own(words: Sequence[str]) -> PluginCommand | None:
    """Return the own command that the first word names; standard agents are not looked up."""
    from collective.catalog import Catalog
    from collective.clients import own_commands as own

    if words[0] in Catalog().paths or (config := _config(words)) is None:
        return None
    found = own.find(words[0], config)
    if found is not None and words[0] in Catalog(config.ddls).paths:
        raise ConfigError(f"'{words[0]}' is an agent and a command of your own (rename the command)")
    return found


def _config(words: Sequence[str]) -> ClientConfig | None:
    """Return the configuration; None without one that can be read, which the request then reports."""
    from collective.config import load_client

    try:
        return load_client(config_file(words))
    except CollectiveError:
        return None


def _plugin(name: str) -> PluginCommand | None:
    from collective.clients import plugin_commands

    return plugin_commands.find(name)
