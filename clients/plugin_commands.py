"""Commands that others bring: `crpc foo` from an installed package, or as the program `crpc-foo` on PATH.

    [project.entry-points."collective.commands"]      in the pyproject.toml of a package
    foo = "acme.crpc_foo"                             a module with `run(arguments)`, as those in clients/commands

A package is preferred to a program. A program is only run from a folder that no other user can change, because it runs
with all permissions of the caller.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from errno import ENOEXEC
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective import installed
from collective.clients.streams import notice
from collective.errors import ConfigError
from collective.ownership import replaceable
from collective.plain_scripts import by_shell

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from collective.clients.parser import Parser

GROUP = "collective.commands"
PREFIX = "crpc-"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,49}")


@dataclass(frozen=True)
class PluginCommand:
    """A command of a plug-in: `about` says where it comes from, and `run` takes its arguments."""

    name: str
    about: str
    run: Callable[[Sequence[str]], int]
    make_parser: Callable[[], Parser] | None = None


def find(name: str) -> PluginCommand | None:
    """Return the command of a plug-in, loaded; None without one.

    Programs in unsafe folders are skipped, with a line on standard error. Raises ConfigError for a package that cannot
    be loaded, and for two packages with the same command.
    """
    if not _NAME.fullmatch(name):
        return None
    if points := [point for point in installed.entries(GROUP) if point.name == name]:
        return _loaded(points)
    for folder in _folders():
        path = Path(folder, PREFIX + name)
        if not _is_program(path):
            continue
        if problem := _problem(folder, path):
            notice(f"{path}: not run: {problem}")
        else:
            return _program(path)
    return None


def usable() -> list[PluginCommand]:
    """Return the commands of all plug-ins, sorted by name. Packages are not loaded, so `run` loads them."""
    found: dict[str, PluginCommand] = {}
    for point in installed.entries(GROUP):
        if _NAME.fullmatch(point.name):
            found.setdefault(point.name, PluginCommand(point.name, _origin(point), partial(_load_and_run, point.name)))
    for folder in _folders():
        for path in _programs(folder):
            name = path.name.removeprefix(PREFIX)
            if name not in found and not _problem(folder, path):
                found[name] = _program(path)
    return [found[name] for name in sorted(found)]


def _origin(point: EntryPoint) -> str:
    return f"from the package {point.dist.name} {point.dist.version}" if point.dist else f"from {point.value}"


def loaded(kind: str, points: Sequence[EntryPoint]) -> tuple[str, Any]:
    """Return the module of the only entry point of a name, and where it comes from. Raises ConfigError.

    `kind` precedes the name in messages: `command`.
    """
    point, *others = points
    if others:
        origins = ", and ".join(sorted(map(_origin, (point, *others))))
        raise ConfigError(f"{kind} '{point.name}': {origins} (uninstall one of the packages)")
    where = f"{kind} '{point.name}' {_origin(point)}"
    try:
        return where, point.load()
    except Exception as error:
        raise ConfigError(f"{where}: cannot be loaded: {type(error).__name__}: {error}") from error


def _loaded(points: Sequence[EntryPoint]) -> PluginCommand:
    where, module = loaded("command", points)
    [point] = points
    if not callable(getattr(module, "run", None)):
        raise ConfigError(f"{where}: '{point.value}' has no function 'run'")
    return PluginCommand(point.name, _origin(point), module.run, getattr(module, "make_parser", None))


def _load_and_run(name: str, arguments: Sequence[str]) -> int:
    found = find(name)
    return found.run(arguments) if found else 0


def _program(path: Path) -> PluginCommand:
    return PluginCommand(path.name.removeprefix(PREFIX), str(path), partial(_execute, path))


def _execute(path: Path, arguments: Sequence[str]) -> int:
    """Replace this process with the program, so that it has the terminal, the signals and the exit code."""
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execv(path, [str(path), *arguments])  # noqa: S606 - no shell is involved
    except OSError as error:
        if error.errno == ENOEXEC and (script := by_shell([str(path), *arguments])):
            os.execv(script[0], script)  # noqa: S606 - a script without `#!`, as from a shell
        raise ConfigError(f"{path}: cannot be run: {error.strerror}") from None


def _folders() -> list[str]:
    """Return the folders of PATH, each once; an empty entry is the current folder."""
    return list(dict.fromkeys(os.environ.get("PATH", "").split(os.pathsep)))


def _programs(folder: str) -> Iterator[Path]:
    try:
        paths = sorted(path for path in Path(folder).iterdir() if path.name.startswith(PREFIX))
    except OSError:
        return
    for path in paths:
        if _NAME.fullmatch(path.name.removeprefix(PREFIX)) and _is_program(path):
            yield path


def _is_program(path: Path) -> bool:
    # os.path.isfile is false below a folder of PATH that this user cannot read; Path.is_file raises PermissionError.
    return os.path.isfile(path) and os.access(path, os.X_OK)  # noqa: PTH113


def _problem(folder: str, path: Path) -> str | None:
    """Return why a program must not be run from a folder of PATH; None if it may be."""
    if not folder.startswith("/"):
        return f"'{folder}' in PATH depends on the current folder (use an absolute path)"
    return replaceable(Path(folder)) or replaceable(path)
