"""The user's own commands: `aliases:` of client.yaml, and a YAML file for each command in the folders `commands`.

aliases:
up: rpcutil ping -F role=web          crpc up --count  ─►  crpc rpcutil ping -F role=web --count

commands/restart-web.yaml               see command_file.py
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from collective.clients.commands import COMMANDS
from collective.clients.plugin_commands import PluginCommand
from collective.errors import CollectiveError, ConfigError

if TYPE_CHECKING:
    from collective.config import ClientConfig

ALIAS, FILE = "alias", "own command"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,49}")


def find(name: str, config: ClientConfig) -> PluginCommand | None:
    """Return the user's own command with this name; None without one. Raises ConfigError for one that is invalid."""
    if name in config.aliases:
        return _alias(name, config.aliases)
    path = _files(config).get(name)
    if path is None:
        return None
    _check_name(name, f"{path}")
    _check_owner(path)
    from collective.clients import command_file

    return PluginCommand(
        name,
        command_file.summary(path),
        partial(command_file.run, path),
        lambda: command_file.make_parser(command_file.read(path)),
    )


def stands_for(name: str, config: ClientConfig) -> list[str]:
    """Return the words that a command of the user's own begins with: command or agent, action, fixed inputs.

    Empty for another name. Raises ConfigError.
    """
    if name in config.aliases:
        return _words(name, config.aliases[name])
    path = _files(config).get(name)
    if path is None:
        return []
    from collective.clients import command_file

    return command_file.stands_for(path)


def usable(config: ClientConfig) -> list[tuple[str, PluginCommand]]:
    """Return the kind and the command of each own command, sorted by name; invalid ones are described as such."""
    found = []
    for name in sorted({*config.aliases, *_files(config)}):
        kind = ALIAS if name in config.aliases else FILE
        try:
            command = find(name, config)
        except CollectiveError as error:
            command = PluginCommand(name, f"cannot be used: {error}", partial(_refuse, error))
        if command is not None:
            found.append((kind, command))
    return found


def _refuse(error: CollectiveError, _arguments: Sequence[str]) -> int:
    raise error


def _alias(name: str, aliases: Mapping[str, str]) -> PluginCommand:
    _check_name(name, f"client.yaml: aliases.{name}")
    words = _words(name, aliases[name])
    if words[0] in aliases:
        raise ConfigError(f"client.yaml: aliases.{name}: begins with the alias '{words[0]}' (write its words instead)")
    from collective.clients import lookup

    target = lookup.find_shipped(words)
    return PluginCommand(name, f"crpc {aliases[name]}", partial(_run_alias, words), target.make_parser)


def _run_alias(words: Sequence[str], arguments: Sequence[str]) -> int:
    from collective.clients import lookup

    return lookup.find_shipped([*words, *arguments]).run()


def _words(name: str, text: str) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"client.yaml: aliases.{name}: {error}") from None
    if not words or words[0].startswith("-"):
        raise ConfigError(f"client.yaml: aliases.{name}: must begin with a command or an agent, not '{text}'")
    return words


def _check_name(name: str, where: str) -> None:
    """Refuse a name that no command can have, or that is taken."""
    from collective.catalog import Catalog

    if not _NAME.fullmatch(name):
        raise ConfigError(f"{where}: invalid name '{name}': use a-z, 0-9 and '-'")
    if name in COMMANDS:
        raise ConfigError(f"{where}: '{name}' is a command of crpc (use another name)")
    if name in Catalog().paths:
        raise ConfigError(f"{where}: '{name}' is an agent (use another name)")


def _check_owner(path: Path) -> None:
    """Refuse a file that others can change: its options can run commands on this machine, such as those of gates."""
    from collective.ownership import replaceable

    if problem := replaceable(path):
        raise ConfigError(f"{path}: not used: {problem}")


def _files(config: ClientConfig) -> dict[str, Path]:
    """Return the file of each command in the folders; the first folder with a name wins."""
    found: dict[str, Path] = {}
    for folder in config.commands:
        for path in sorted(folder.glob("*.yaml")):
            found.setdefault(path.stem, path)
    return found
