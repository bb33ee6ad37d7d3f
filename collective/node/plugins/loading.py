"""Match each Python file or program of some folders with its DDL, and reject a plugin whose code and DDL disagree.

    load(folders of code, folders of DDLs, load_pair) → {name: plugin}, [(name, problem)]

Used for agents and data functions.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from collective import ddl
from collective.agent import is_check
from collective.bundled import DDLS
from collective.errors import ConfigError, DDLError
from collective.node.actions.importing import compiled, imported
from collective.node.plugins import import_trial, programs
from collective.node.plugins.programs import NotActive
from collective.ownership import replaceable
from collective.path_checks import may_exist
from collective.yaml_file import read_yaml

log = logging.getLogger(__name__)

Plugin = TypeVar("Plugin")
Problems = Sequence[tuple[str, str]]  # name of the plugin, error line


def report(
    event: str, kind: str, problems: Problems, loaded: Mapping[str, object], before: Mapping[str, object]
) -> None:
    """Log the problems of plugins of a `kind`, and which version is in force instead."""
    for name, line in problems:
        kept = _is_kept(name, loaded, before)
        in_force = "the last valid version" if kept else "nothing"
        log.error(event, extra={kind: name, "error": line, "in_force": in_force})


def _is_kept(name: str, loaded: Mapping[str, object], before: Mapping[str, object]) -> bool:
    return name in before and loaded.get(name) is before[name]


class LoadedPlugins(Mapping[str, Plugin]):
    """The loaded plugins, by name.

    `refused` has the error line of each plugin that was not loaded, by name, and `outdated` of each plugin that serves
    with its version of `before` because the newer one was rejected. `problems` has all error lines, also those about a
    second file with the same name.
    """

    def __init__(
        self, plugins: Mapping[str, Plugin], problems: Problems = (), before: Mapping[str, object] | None = None
    ) -> None:
        self._plugins = dict(plugins)
        self.problems = tuple(line for _, line in problems)
        self.refused = {name: line for name, line in problems if name not in plugins}
        self.outdated = {name: line for name, line in problems if _is_kept(name, plugins, before or {})}

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
    """Load every plugin in the given folders with `load_pair(code, DDL)`. Of two with the same name, use the first.

    A rejected plugin is replaced by its version in `before`, unless its code or its DDL no longer exists.
    """
    loaded: dict[str, Plugin] = {}
    problems: list[tuple[str, str]] = []
    descriptions = _index(ddls, _is_ddl, problems)
    sources = _index(code, _is_code, problems)
    for name, path in sources.items():
        try:
            if name not in descriptions:
                raise DDLError(f"{path}: no DDL found (create {name}.json in {ddls[-1]})")
            require_trusted(path, *programs.files(path), descriptions[name])
            loaded[name] = load_pair(path, descriptions[name])
        except (DDLError, ConfigError) as error:
            problems.append((name, str(error)))
            if before and name in before and name in descriptions:
                loaded[name] = before[name]
        except NotActive:
            log.info("plugin.inactive", extra={"plugin": name, "path": str(path)})
    for name, path in descriptions.items():
        if name not in sources:
            problems.append((name, f"{path}: no code found ({programs.hint(code[-1], name)})"))
    return loaded, problems


def _is_ddl(path: Path) -> bool:
    return path.suffix == ".json"


def _is_code(path: Path) -> bool:
    return path.suffix == ".py" or programs.is_program(path)


def _index(folders: Sequence[Path], wanted: Callable[[Path], bool], problems: list[tuple[str, str]]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in folders:
        for path in _listed(folder, wanted, problems):
            if path.stem in found:
                line = f"{path}: the name '{path.stem}' is already used by {found[path.stem]} (rename one of them)"
                problems.append((path.stem, line))
            else:
                found[path.stem] = path
    return found


def _listed(folder: Path, wanted: Callable[[Path], bool], problems: list[tuple[str, str]]) -> list[Path]:
    """Return the wanted files of a folder, sorted. A folder that cannot be read is added to `problems`."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith(("_", ".")) and wanted(path))
    except FileNotFoundError:
        return []
    except OSError as error:
        problems.append((folder.name, f"{folder}: cannot be read: {error.strerror}"))
        return []


def import_code(path: Path) -> tuple[ModuleType, bytes]:
    """Import a file; return the module and its compiled code. Raise DDLError with a one-line reason.

    Another process imports it first (import_trial.py), except for what ships with this package.
    """
    try:
        code = compiled(path)
        problem = None if path.is_relative_to(bundled_code()) else import_trial.problem(path, code)
        if problem is None:
            return imported(path, code), code
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        problem = "cannot be imported: " + " ".join(f"{type(error).__name__}: {error}".split())
    raise DDLError(f"{path}: {problem}")


def read_settings(path: Path, described: ddl.DDL | None = None) -> Mapping[str, Any]:
    """Return the content of a plugin's settings file, with the defaults of the DDL `described`; {} without a file.

    Raises ConfigError naming the file, and the key that does not match the DDL.
    """
    content = read_yaml(path) if may_exist(path) else None
    require_trusted(path)
    values = {} if content is None else content
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must be a mapping, not {type(values).__name__}")
    try:
        return described.check_settings(values) if described else values
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def require_trusted(*paths: Path) -> None:
    """Raise ConfigError if users other than root and the node's can change one of the paths.

    What ships with this package is not checked: who can change it can change the daemon.
    """
    for path in paths:
        if any(path.is_relative_to(folder) for folder in (bundled_code(), DDLS)):
            continue
        if problem := replaceable(path):
            raise ConfigError(f"{path}: not loaded, because other users can change it: {problem}")


def bundled_code() -> Path:
    """Return the folder of the standard agents' code."""
    return Path(str(resources.files("collective.agents")))


def run_checks(name: str, module: ModuleType, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the lines of a plugin's functions marked with `check`: problems of the node's setup."""
    lines: list[str] = []
    for function in (thing for thing in vars(module).values() if is_check(thing)):
        try:
            lines += (f"{name}: {line}" for line in function(settings))
        except Exception as error:
            lines.append(f"{name}: check '{function.__name__}' failed: {type(error).__name__}: {error}")
    return tuple(lines)


def supplied(function: Callable[..., Any], available: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `available` arguments that a function has as keyword-only parameters; its others are inputs."""
    parameters = inspect.signature(function).parameters.values()
    named = {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    return {name: value for name, value in available.items() if name in named}


def check_parameters(path: Path, described: ddl.Action, function: Callable[..., Any], known: frozenset[str]) -> None:
    """Check that a function takes the inputs of its DDL, and has no keyword-only parameters except `known` ones."""
    label = f"{path}: {described.agent}.{described.name}"
    plain = inspect.unwrap(function)
    if inspect.iscoroutinefunction(plain) or inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain):
        raise DDLError(
            f"{label}: must be a plain function that returns its data ('async def' and 'yield' are not supported)"
        )
    inputs = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            _check_supplied(label, parameter, known)
        elif parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            inputs.append(parameter.name)
            _check_optional(label, described, parameter)
        else:
            raise DDLError(f"{label}: parameter '{parameter}' cannot be passed by name")
    _check_dry_run(label, described, function)
    if sorted(inputs) != sorted(described.inputs):
        raise DDLError(
            f"{label}: the inputs differ: {sorted(inputs)} in the code, {sorted(described.inputs)} in the DDL"
            " (name the parameters like the inputs)"
        )


def _check_supplied(label: str, parameter: inspect.Parameter, known: frozenset[str]) -> None:
    if parameter.name not in known:
        raise DDLError(
            f"{label}: unknown keyword-only parameter '{parameter.name}' (the node supplies {', '.join(sorted(known))})"
        )


def _check_dry_run(label: str, described: ddl.Action, function: Callable[..., Any]) -> None:
    """Check that the DDL and the function agree whether the action has a dry run: else it would change the node."""
    in_code = bool(supplied(function, {"dry_run": False}))
    if described.dry_run and not in_code:
        raise DDLError(f"{label}: 'dry_run' is true in the DDL but the function has no keyword-only 'dry_run'")
    if in_code and not described.dry_run:
        raise DDLError(f"{label}: the function has 'dry_run' but the DDL does not (add \"dry_run\": true)")


def _check_optional(label: str, described: ddl.Action, parameter: inspect.Parameter) -> None:
    always_given = parameter.name in described.required or "default" in described.inputs.get(parameter.name, {})
    if parameter.name in described.inputs and not always_given and parameter.default is parameter.empty:
        raise DDLError(f"{label}: '{parameter.name}' is optional in the DDL but has no default in the code")
