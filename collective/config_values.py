"""Convert the values of `node.yaml` and `client.yaml` to the types of their keys; errors name file and key."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from collective import durations, names
from collective.errors import ConfigError, UsageError
from collective.suggestions import suggest

_CHOICES = {
    "registry": ("dynamodb", "none"),
    "log_level": ("DEBUG", "INFO", "WARNING", "ERROR"),
    "log_format": ("text", "json"),
    "new_nodes": ("accept", "refuse"),
    "ddl_source": ("auto", "local"),
    "runs": ("auto", "local", "shared"),
}
_MEMBERS = {"ec2_api_facts": ("tags", "autoscaling_group", "target_groups")}  # of lists
_DURATIONS = frozenset({"heartbeat"})  # keys that also take a duration with a unit, such as 10s
_SPECIAL_PATHS = {  # values of path keys that are not paths
    "key": ("auto", "agent", "none"),
    "requests": ("auto", "shared", "local"),
}
_POSITIVE = frozenset(
    """heartbeat facts_period max_actions max_queued ttl transit discovery_timeout runs_days runs_megabytes""".split()
)
_MAX = {"ttl": 3600.0, "transit": 3600.0, "discovery_timeout": 3600.0}  # seconds; messages.MAX_TTL


GROUP_KINDS = {  # what a group of client.yaml can have
    "filter": "an expression as in -S",
    "nodes": "names, or a list of names",
    "command": "a program and its arguments, a list of strings",
    "choria": "a program for Choria's external discovery and its arguments, a list of strings",
}
GROUP_PROGRAMS = frozenset({"command", "choria"})
_GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def converted(path: Path, values: Mapping[str, Any], hints: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Return the values by key, each as its type; `where` precedes keys in messages."""
    known: dict[str, Any] = {}
    for key, value in values.items():
        if key not in hints:
            hint = suggest(str(key), hints, f"keys: {', '.join(hints)}")
            place = f"{where.removesuffix('.')}: " if where else ""
            raise ConfigError(f"{path}: {place}unknown key '{key}' ({hint})")
        if key == "groups":
            known[key] = _groups(path, value, f"{where}{key}")
        elif key == "notify":
            from collective.notification_places import read_places

            known[key] = read_places(path, value, f"{where}{key}")
        elif key == "watches":
            from collective.watch_settings import read_watches

            known[key] = read_watches(path, value, f"{where}{key}")
        elif key == "collectives":
            known[key] = _collectives(path, value, {name: kind for name, kind in hints.items() if name != key})
        else:
            known[key] = _convert(path, f"{where}{key}", value, _when_given(hints[key]))
    return known


def _groups(path: Path, value: Any, where: str) -> dict[str, dict[str, Any]]:
    """Return the groups by name, each with one of GROUP_KINDS; `nodes` is a list of names or expressions."""
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: {where}: must be a mapping, not {json_type(value)}")
    found = {}
    for name, group in value.items():
        place = f"{path}: {where}.{name}"
        if not _GROUP.fullmatch(str(name)):
            raise ConfigError(f"{place}: invalid name: use a-z, A-Z, 0-9, '_' and '-'")
        if not isinstance(group, dict) or len(group) != 1 or not group.keys() <= {*GROUP_KINDS}:
            raise ConfigError(f"{place}: must have exactly one of {', '.join(GROUP_KINDS)}")
        kind, given = next(iter(group.items()))
        texts = [given] if isinstance(given, str) else given
        if not (isinstance(texts, list) and texts and all(isinstance(text, str) and text for text in texts)):
            raise ConfigError(f"{place}.{kind}: must be {GROUP_KINDS[kind]}, not {given!r}")
        if kind == "filter" and not isinstance(given, str):
            raise ConfigError(f"{place}.{kind}: must be {GROUP_KINDS[kind]}, not {given!r}")
        program = kind in GROUP_PROGRAMS and "/" in texts[0]
        found[str(name)] = {kind: [str(_resolve(path, texts[0])), *texts[1:]] if program else given}
    return found


def _collectives(path: Path, value: Any, hints: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the values of each collective: of a mapping, or of names without values."""
    if not isinstance(value, dict):
        names_only = _convert_list(path, value, str)
        if names_only is None:
            raise ConfigError(f"{path}: collectives: must be a mapping of names, or a list of names, not {value!r}")
        return {name: {} for name in names_only}
    found: dict[str, dict[str, Any]] = {}
    for name, values in value.items():
        where = f"collectives.{name}"
        if not isinstance(values, dict | None):
            raise ConfigError(f"{path}: {where}: must be a mapping, not {json_type(values)}")
        found[str(name)] = converted(path, values or {}, hints, f"{where}.")
        check_names(path, found[str(name)], f"{where}.")
    return found


def _convert(path: Path, where: str, value: Any, hint: Any) -> Any:
    key = where.rpartition(".")[2]
    found: Any = None
    if hint is Path and isinstance(value, str):
        found = Path(value) if value in _SPECIAL_PATHS.get(key, ()) else _resolve(path, value)
    elif typing.get_origin(hint) is list:
        found = _convert_list(path, value, typing.get_args(hint)[0])
    elif typing.get_origin(hint) is dict and isinstance(value, dict):
        found = value if _all_fit(value, typing.get_args(hint)[1]) else None
    elif type(value) in ((int, float) if hint is float else (hint,)):
        found = value
    elif key in _DURATIONS and isinstance(value, str):
        found = _duration(path, where, value)
    if found is None:
        raise ConfigError(f"{path}: {where}: must be {_kind(hint)}, not {value!r}")
    _check_choice(f"{path}: {where}", key, found)
    if key in _POSITIVE and found <= 0:
        raise ConfigError(f"{path}: {where}: must be greater than 0, not {value!r}")
    maximum = _MAX.get(key, 1e9)
    if hint in (int, float) and not 0 <= found <= maximum:
        raise ConfigError(f"{path}: {where}: must be between 0 and {maximum:.0f}, not {value!r}")
    return float(found) if hint is float else found  # after the limit: an integer can be too large for a float


def _check_choice(where: str, key: str, value: Any) -> None:
    if key in _CHOICES and value not in _CHOICES[key]:
        raise ConfigError(f"{where}: must be one of {', '.join(_CHOICES[key])}, not {value!r}")
    if key in _MEMBERS and not set(value) <= {*_MEMBERS[key]}:
        raise ConfigError(f"{where}: must be a list of {', '.join(_MEMBERS[key])}, not {value!r}")


def _duration(path: Path, where: str, value: str) -> float:
    try:
        return durations.read_wait(value)
    except UsageError as error:
        raise ConfigError(f"{path}: {where}: {error}") from None


def _when_given(hint: Any) -> Any:
    """Return the type of an optional key's value: `Path` for `Path | None`."""
    return typing.get_args(hint)[0] if isinstance(hint, types.UnionType) else hint


def _convert_list(path: Path, value: Any, member: Any) -> list[Any] | None:
    values = value if isinstance(value, list) else [value]
    if typing.get_origin(member) is list:  # a list of commands
        valid = all(
            entry and isinstance(entry, list) and all(isinstance(argument, str) for argument in entry)
            for entry in values
        )
        return values if valid else None
    if not all(isinstance(entry, str) for entry in values):
        return None
    return [_resolve(path, entry) for entry in values] if member is Path else values


def _all_fit(values: Mapping[Any, Any], member: type) -> bool:
    """Return whether a mapping has string keys, and values that are strings or integers above 0."""
    named = all(isinstance(name, str) and type(one) is member for name, one in values.items())
    return named and (member is str or all(one > 0 for one in values.values()))


def _resolve(path: Path, value: str) -> Path:
    """Return `value` as a path relative to the folder of the configuration file `path`."""
    try:
        return path.absolute().parent / Path(value).expanduser()
    except RuntimeError:
        raise ConfigError(f"{path}: no home folder for '{value}' (use an absolute path)") from None


def _kind(hint: Any) -> str:
    if typing.get_origin(hint) is list:
        nested = typing.get_origin(typing.get_args(hint)[0]) is list
        return "a list of commands, each a list of strings" if nested else "a list of strings"
    if typing.get_origin(hint) is dict:
        return "a mapping of strings" if typing.get_args(hint)[1] is str else "a mapping to integers above 0"
    return {Path: "a path", str: "a string", bool: "true or false", int: "an integer", float: "a number"}[hint]


def json_type(value: Any) -> str:
    """Return what a value is, in words."""
    return {list: "a list", type(None): "an empty file", str: "a string"}.get(type(value), type(value).__name__)


def check_names(path: Path, values: Mapping[str, Any], where: str = "") -> None:
    """Raise ConfigError, naming the key, for a name that is not valid."""
    for key, check in _NAMES.items():
        given = values.get(key, [])
        for name in given if isinstance(given, (list, dict)) else [given]:
            try:
                check(name)
            except UsageError as error:
                raise ConfigError(f"{path}: {where}{key}: {error}") from None


def _check_sender(name: str) -> None:
    if not (name.isprintable() and 1 <= len(name) <= 255):
        raise UsageError(f"invalid sender {name!r}: use 1 to 255 printable characters")


_NAMES: Mapping[str, Callable[[str], object]] = {
    "collective": names.check_collective,
    "collectives": names.check_collective,
    "identity": names.check_identity,
    "caller": names.check_caller,
    "sender": _check_sender,
    "warm": durations.read_wait,
}
