"""The watches of `watches:` in node.yaml: which nodes are watched, and what runs for their events.

watches:
  lb:  {filter: "role=web", exec: /usr/local/bin/update-lb, user: haproxy, on: [join, leave, failed]}
  dns: {exec_json: /usr/local/bin/update-dns, batch: true, every: 10s}
  web: {filter: "role=web", template: {src: haproxy.cfg.j2, dest: /etc/haproxy/haproxy.cfg}}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective import durations
from collective.errors import ConfigError, UsageError
from collective.suggestions import suggest
from collective.template_settings import TemplateSettings, read_template

if TYPE_CHECKING:
    from collective.filters import Filter

KINDS = ("join", "leave", "failed", "reap", "update", "conflict")
EVERY = 5.0  # seconds between two reads of the registry by default; less if nodes have short heartbeats
READS_PER_HEARTBEAT = 3  # then, so that a missing heartbeat is noticed soon
SHORTEST_PAUSE = 1.0  # seconds between two reads then
NO_REGISTRY = "watches: no registry to watch (set 'registry: dynamodb', or remove the watches)"
TIMEOUT = 60.0  # seconds for which a command may run
_HANDLERS = ("exec", "exec_json", "template")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class WatchSettings:
    """One watch; without a `filter`, of every node. Durations are in seconds. `every`: None is the default.

    `command` is empty if there is a `template`. `form` is `serf` or `json`: what the command gets on standard input.
    With `ec2_events`, the events of EC2 are taken from their queue.
    """

    name: str
    command: str
    form: str
    template: TemplateSettings | None = None
    filter: Filter | None = None
    on: tuple[str, ...] = KINDS
    batch: bool = False
    user: str | None = None
    timeout: float = TIMEOUT
    every: float | None = None
    settle: float = 0.0
    ignore_facts: tuple[str, ...] = ()
    ec2_events: bool = False


def default_pause(heartbeat: float) -> float:
    """Return the seconds between two reads of the registry, given the shortest period of the nodes' heartbeats."""
    return min(EVERY, max(SHORTEST_PAUSE, heartbeat / READS_PER_HEARTBEAT))


def read_watches(path: Path, value: Any, where: str) -> dict[str, dict[str, Any]]:
    """Return the watches of a node.yaml as they are written. Raises ConfigError for invalid ones."""
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: {where}: must be a mapping of names to watches")
    for name, watch in value.items():
        read_watch(str(name), watch, f"{path}: {where}.{name}", path.absolute().parent)
    found = {str(name): _with_paths(watch, path.absolute().parent) for name, watch in value.items()}
    _refuse_same_file(path, found, where)
    return found


def read_watch(name: str, value: Any, where: str, folder: Path = Path()) -> WatchSettings:
    """Return one watch, its paths relative to `folder`; `where` begins the message of a ConfigError."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{where}: invalid name: use 1 to 64 characters of A-Z, a-z, 0-9, '_' and '-'")
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: must be a mapping, not {value!r}")
    for key in value:
        if key not in _READ and key not in _HANDLERS:
            keys = [*_READ, *_HANDLERS]
            raise ConfigError(f"{where}: unknown key '{key}' ({suggest(str(key), keys, 'keys: ' + ', '.join(keys))})")
    handlers = [key for key in _HANDLERS if key in value]
    if len(handlers) != 1:
        raise ConfigError(f"{where}: must have exactly one of {', '.join(_HANDLERS)}")
    read: dict[str, Any] = {key: _READ[key](value[key], f"{where}.{key}") for key in value if key in _READ}
    [kind], place = handlers, f"{where}.{handlers[0]}"
    if kind == "template":
        _refuse(("on", "batch"), value, where)
        return WatchSettings(name, "", "", read_template(value[kind], place, folder), **read)
    return WatchSettings(name, _text(value[kind], place), "serf" if kind == "exec" else "json", **read)


def _refuse(keys: Sequence[str], value: Mapping[str, Any], where: str) -> None:
    for key in keys:
        if key in value:
            raise ConfigError(f"{where}.{key}: has no effect with template (remove it)")


def _refuse_same_file(path: Path, watches: Mapping[str, Any], where: str) -> None:
    """Raise ConfigError for two templates with one file, which would replace each other's result for ever."""
    seen: dict[str, str] = {}
    for name, watch in watches.items():
        dest = watch.get("template", {}).get("dest")
        if dest and seen.setdefault(dest, name) != name:
            raise ConfigError(f"{path}: {where}.{name}.template.dest: {dest} is also that of the watch '{seen[dest]}'")


def _with_paths(watch: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a watch with absolute paths in its template."""
    if "template" not in watch:
        return watch
    template = watch["template"]
    return {**watch, "template": template | {key: str(folder / template[key]) for key in ("src", "dest")}}


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
    if value == []:
        raise ConfigError(f"{where}: must not be empty (use {', '.join(KINDS)})")
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
    "ec2_events": _boolean,
}
