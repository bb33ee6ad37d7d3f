"""Load agents and data functions that are executables, in any language.

    agents/disk             one program for all actions: Choria's external agent protocol
    agents/disk/usage       one program for each action: two file arguments, as in MCollective
    agents/data/mounted     a data function: two file arguments

Each has a DDL like a Python plugin. A program is only run while it is the file that was checked when it was loaded.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collective import ddl
from collective.errors import DDLError, Failed
from collective.node.actions import program
from collective.node.actions.job import FileState
from collective.node.actions.program import CHORIA, FILES

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_OTHER_FILES = frozenset({".py", ".pyc", ".json", ".ddl", ".yaml", ".yml", ".md", ".txt"})


class NotActive(Exception):
    """The program answered that its agent is not to be active on this node."""


@dataclass(frozen=True)
class ActionProgram:
    """The executable of one action: its path, its state when it was loaded, and how it is called."""

    path: Path
    file: FileState
    convention: str


def is_program(path: Path) -> bool:
    """Return whether a path in a folder of code is a program, or a folder with the programs of an agent."""
    if path.is_dir():
        return _NAME.fullmatch(path.name) is not None and path.name != "data" and any(_programs(path))
    return path.suffix not in _OTHER_FILES and path.is_file() and os.access(path, os.X_OK)


def files(path: Path) -> list[Path]:
    """Return the files that make up a plugin's code: the path itself, or the programs in its folder."""
    return sorted(_programs(path)) if path.is_dir() else [path]


def load_agent(path: Path, described: ddl.DDL, settings: Mapping[str, Any]) -> dict[str, ActionProgram]:
    """Return the program of each action of an agent.

    Raises DDLError if programs and DDL differ, NotActive if the agent is not to be active on this node.
    """
    path = path.absolute()  # the program is run in another folder
    if path.is_dir():
        found = _one_for_each(path, described)
        _check_dry_runs(described, found)
        return found
    try:
        with tempfile.TemporaryDirectory(prefix="collective-") as folder:
            active = program.activates(path, described.name, settings, Path(folder))
    except Failed as error:
        raise DDLError(f"{path}: not activated: {error}") from None
    except Exception as error:
        raise DDLError(f"{path}: cannot be run: {' '.join(str(error).split())}") from None
    if not active:
        raise NotActive
    one = ActionProgram(path, program.state(path), CHORIA)
    found = dict.fromkeys(described.actions, one)
    _check_dry_runs(described, found)
    return found


def _check_dry_runs(described: ddl.DDL, found: Mapping[str, ActionProgram]) -> None:
    """Check that each program whose action has a dry run reads `dry_run`: one that ignores it would change the node."""
    for name, action in described.actions.items():
        if action.dry_run and b"dry_run" not in found[name].path.read_bytes():
            raise DDLError(
                f"{found[name].path}: action '{name}': 'dry_run' is true in the DDL, and the program does not contain "
                "'dry_run' (read the member 'dry_run' of the request)"
            )


def load_data_function(path: Path) -> ActionProgram:
    """Return the program of a data function. Raises DDLError."""
    if path.is_dir():
        raise DDLError(f"{path}: a data function must be a file, not a folder")
    path = path.absolute()
    return ActionProgram(path, program.state(path), FILES)


def hint(folder: Path, name: str) -> str:
    """Return how to add the code for a DDL `name`: a file may be there that is not executable."""
    found = next((path for path in sorted(folder.glob(f"{name}*")) if path.stem == name and _could_be(path)), None)
    if found is not None:
        return f"'{found}' is not executable: use 'chmod +x {found}'"
    return f"create {name}.py in {folder}, or an executable '{name}'"


def _could_be(path: Path) -> bool:
    return path.suffix not in _OTHER_FILES and path.is_file()


def _one_for_each(folder: Path, described: ddl.DDL) -> dict[str, ActionProgram]:
    found: dict[str, ActionProgram] = {}
    for path in sorted(_programs(folder)):
        if path.stem in found:
            raise DDLError(f"{path}: the action '{path.stem}' already has the program {found[path.stem].path}")
        found[path.stem] = ActionProgram(path, program.state(path), FILES)
    for name in sorted(found.keys() ^ described.actions.keys()):
        if name in found:
            raise DDLError(f"{found[name].path}: no action '{name}' in the DDL")
        raise DDLError(f"{folder}: no program for the action '{name}' (create an executable '{name}' in it)")
    return found


def _programs(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith((".", "_")) or path.suffix == ".pyc" or not path.is_file():
            continue
        if os.access(path, os.X_OK):
            yield path
