"""Pair each Python file of some folders with its DDL, and refuse a pair that disagrees.

    load(folders of code, folders of DDLs, how to load one pair) → {name: what was loaded}, [(name, what is wrong)]

Agents and data functions are both found this way.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from collective import ddl
from collective.errors import ConfigError, DDLError
from collective.node.actions.importing import compiled, imported
from collective.node.check.permissions import may_be_there
from collective.yaml_file import read_yaml

log = logging.getLogger(__name__)

Plugin = TypeVar("Plugin")
Problems = Sequence[tuple[str, str]]  # the name of a pair, what is wrong with it


def report(
    event: str, kind: str, problems: Problems, loaded: Mapping[str, object], before: Mapping[str, object]
) -> None:
    """Log what is wrong with plugins of a `kind`, and what is in force instead."""
    for name, line in problems:
        kept = name in before and loaded.get(name) is before[name]
        in_force = "the version before" if kept else "nothing"
        log.error(event, extra={kind: name, "error": line, "in_force": in_force})


class Loaded(Mapping[str, Plugin]):
    """What serves, by name.

    `refused` says of the others why not, a line each, by name; `faults` are all lines, those about second files
    of a name included.
    """

    def __init__(self, plugins: Mapping[str, Plugin], problems: Problems = ()) -> None:
        self._plugins = dict(plugins)
        self.problems = tuple(line for _, line in problems)
        self.refused = {name: line for name, line in problems if name not in plugins}

    def __getitem__(self, name: str) -> Plugin:
        return self._plugins[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._plugins)

    def __len__(self) -> int:
        return len(self._plugins)


def load(
    code: Sequence[Path],
    ddls: Sequence[Path],
    load_pair: Callable[[Path, Path], Plugin],
    before: Mapping[str, Plugin] | None = None,
) -> tuple[dict[str, Plugin], Problems]:
    """Load every pair of the given folders with `load_pair(code, DDL)`; of two with one name, the first serves.

    Of a pair that is refused, what was loaded `before` serves on; without code or DDL there is no pair.
    """
    loaded: dict[str, Plugin] = {}
    problems: list[tuple[str, str]] = []
    descriptions = _index(ddls, "*.json", problems)
    sources = _index(code, "*.py", problems)
    for name, path in sources.items():
        try:
            if name not in descriptions:
                raise DDLError(f"{path}: there is no DDL: write {name}.json into {ddls[-1]}")
            loaded[name] = load_pair(path, descriptions[name])
        except (DDLError, ConfigError) as error:
            problems.append((name, str(error)))
            if before and name in before and name in descriptions:
                loaded[name] = before[name]
    for name, path in descriptions.items():
        if name not in sources:
            problems.append((name, f"{path}: there is no code: write {name}.py into {code[-1]}"))
    return loaded, problems


def _index(folders: Sequence[Path], pattern: str, problems: list[tuple[str, str]]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in folders:
        for path in _listed(folder, pattern, problems):
            if path.name.startswith("_"):
                continue
            if path.stem in found:
                line = f"{path}: '{path.stem}' is taken by {found[path.stem]}: give it another name"
                problems.append((path.stem, line))
            else:
                found[path.stem] = path
    return found


def _listed(folder: Path, pattern: str, problems: list[tuple[str, str]]) -> list[Path]:
    """Return what fits in a folder, by name: nothing of one that is not there, or cannot be read, which is a fault."""
    try:
        return sorted(path for path in folder.iterdir() if path.match(pattern))
    except FileNotFoundError:
        return []
    except OSError as error:
        problems.append((folder.name, f"{folder}: cannot be read: {error.strerror}"))
        return []


def import_code(path: Path) -> tuple[ModuleType, bytes]:
    """Import a file, and return its code too; raise DDLError, saying in one line why it cannot be done."""
    try:
        code = compiled(path)
        return imported(path, code), code
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise DDLError(f"{path}: cannot be imported: {said}") from None


def read_settings(path: Path) -> Mapping[str, Any]:
    """Return what a plugin's settings file holds, {} when there is none; raise ConfigError."""
    settings = read_yaml(path) if may_be_there(path) else {}
    if not isinstance(settings or {}, dict):
        raise ConfigError(f"{path}: must hold keys and values, not {type(settings).__name__}")
    return settings or {}


def supplied(function: Callable[..., Any], available: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the `available` arguments that a function names as keyword-only; others are its inputs."""
    parameters = inspect.signature(function).parameters.values()
    named = {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    return {name: value for name, value in available.items() if name in named}


def check_parameters(path: Path, described: ddl.Action, function: Callable[..., Any], known: frozenset[str]) -> None:
    """Check that a function takes the inputs of its DDL, and names none but `known` keyword-only arguments."""
    label = f"{path}: {described.agent}.{described.name}"
    plain = inspect.unwrap(function)
    if inspect.iscoroutinefunction(plain) or inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain):
        raise DDLError(f"{label}: an action returns its data: 'async def' and 'yield' have no place in it")
    inputs = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            _check_supplied(label, parameter, known)
        elif parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            inputs.append(parameter.name)
            _check_optional(label, described, parameter)
        else:
            raise DDLError(f"{label}: parameter '{parameter}' cannot be filled by name")
    if sorted(inputs) != sorted(described.inputs):
        raise DDLError(f"{label}: code takes {sorted(inputs)}, DDL says {sorted(described.inputs)}")


def _check_supplied(label: str, parameter: inspect.Parameter, known: frozenset[str]) -> None:
    if parameter.name not in known:
        raise DDLError(
            f"{label}: nobody supplies the keyword-only parameter '{parameter.name}': "
            f"there are {', '.join(sorted(known))}"
        )


def _check_optional(label: str, described: ddl.Action, parameter: inspect.Parameter) -> None:
    always_given = parameter.name in described.required or "default" in described.inputs.get(parameter.name, {})
    if parameter.name in described.inputs and not always_given and parameter.default is parameter.empty:
        raise DDLError(f"{label}: '{parameter.name}' may be left out, says the DDL; the code has no default for it")
