"""The watches of `watches:` in node.yaml: which nodes are watched, and what runs for their events.

watches:
  lb:  {filter: "role=web", exec: /usr/local/bin/update-lb, user: haproxy, on: [join, leave, failed]}
  dns: {exec_json: /usr/local/bin/update-dns, batch: true, every: 10s}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective import durations
from collective.errors import ConfigError, UsageError
from collective.suggestions import suggest

if TYPE_CHECKING:
    from collective.filters import Filter

KINDS = ("join", "leave", "failed", "reap", "update", "conflict")
EVERY = 5.0  # seconds between two reads of the registry by default; less if nodes have short heartbeats
TIMEOUT = 60.0  # seconds for which a command may run
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class WatchSettings:
    """One watch; without a `filter`, of every node. Durations are in seconds. `every`: None is the default.

    `form` is `serf` or `json`: what the command gets on standard input.
    """

    name: str
    command: str
    form: str
    filter: Filter | None = None
    on: tuple[str, ...] = KINDS
    batch: bool = False
    user: str | None = None
    timeout: float = TIMEOUT
    every: float | None = None
    settle: float = 0.0
    ignore_facts: tuple[str, ...] = ()


def read_watches(path: Path, value: Any, where: str) -> dict[str, dict[str, Any]]:
    """Return the watches of a node.yaml as they are written. Raises ConfigError for invalid ones."""
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: {where}: must be a mapping of names to watches")
    for name, watch in value.items():
        read_watch(str(name), watch, f"{path}: {where}.{name}")
    return {str(name): watch for name, watch in value.items()}


def read_watch(name: str, value: Any, where: str) -> WatchSettings:
    """Return one watch; `where` begins the message of the ConfigError for an invalid one."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{where}: invalid name: use 1 to 64 characters of A-Z, a-z, 0-9, '_' and '-'")
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: must be a mapping, not {value!r}")
    for key in value:
        if key not in _READ and key not in ("exec", "exec_json"):
            keys = [*_READ, "exec", "exec_json"]
            raise ConfigError(f"{where}: unknown key '{key}' ({suggest(str(key), keys, 'keys: ' + ', '.join(keys))})")
    commands = [key for key in ("exec", "exec_json") if key in value]
    if len(commands) != 1:
        raise ConfigError(f"{where}: must have either exec or exec_json")
    command = _text(value[commands[0]], f"{where}.{commands[0]}")
    read: dict[str, Any] = {key: _READ[key](value[key], f"{where}.{key}") for key in value if key in _READ}
    if "ignore_facts" in read:
        read["ignore_facts"] = tuple(read["ignore_facts"])
    return WatchSettings(name, command, "serf" if commands == ["exec"] else "json", **read)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{where}: must be a string that is not empty, not {value!r}")
    return value


def _boolean(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{where}: must be true or false, not {value!r}")
    return value


def _names(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise ConfigError(f"{where}: must be a list of strings, not {value!r}")
    return tuple(value)


def _kinds(value: Any, where: str) -> tuple[str, ...]:
    for kind in _names(value, where):
        if kind not in KINDS:
            raise ConfigError(f"{where}: unknown kind of event '{kind}' (use {', '.join(KINDS)})")
    return tuple(value)


def _duration(value: Any, where: str) -> float:
    text = str(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else repr(value)
    try:
        return durations.read_wait(text)
    except UsageError as error:
        raise ConfigError(f"{where}: {error}") from None


def _filter(value: Any, where: str) -> Filter:
    from collective import filters  # `crpc --help` does not need it

    try:
        found = filters.parse(select=_text(value, where))
    except UsageError as error:
        raise ConfigError(f"{where}: {error}") from None
    if functions := filters.uses_data(found):
        raise ConfigError(f"{where}: the data function '{functions[0][0]}' cannot be watched (use facts and classes)")
    return found


_READ: Mapping[str, Callable[[Any, str], Any]] = {
    "filter": _filter,
    "on": _kinds,
    "batch": _boolean,
    "user": _text,
    "timeout": _duration,
    "every": _duration,
    "settle": _duration,
    "ignore_facts": _names,
}
