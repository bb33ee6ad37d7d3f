"""Load the node's data functions: match each file of the `data` folders with its DDL, as for agents.

A rejected function is not loaded, and `problems` has a line that names the file and the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collective import data_ddl, ddl
from collective.agent import SUPPLIED_TO_DATA, is_data
from collective.errors import DDLError, UnknownAction
from collective.node.actions import preloading
from collective.node.plugins import loading, programs
from collective.node.plugins.loading import LoadedPlugins
from collective.node.plugins.programs import ActionProgram

FOLDER = "data"  # below each folder of agents and each folder of DDLs


@dataclass(frozen=True)
class DataFunction:
    """A data function's code and DDL. `settings` is the content of the settings file of the same name.

    `code` is the compiled file as it was checked. Workers run it. A function that is not written in Python has a
    `program` in place of code, and its `function` does nothing. `modules` are those that its processes have imported
    before they start (preloading.py).
    """

    name: str
    path: Path
    ddl: ddl.Action
    function: Callable[..., Any]
    settings: Mapping[str, Any]
    code: bytes
    program: ActionProgram | None = None
    modules: tuple[str, ...] = ()


class DataFunctions(LoadedPlugins[DataFunction]):
    """The loaded data functions, by name."""

    def find(self, name: str) -> DataFunction:
        """Return a data function. Raise UnknownAction when this node does not have it."""
        if name in self.refused:
            raise UnknownAction(f"data function '{name}' failed to load on this node: {self.refused[name]}")
        if name not in self:
            raise UnknownAction(f"this node has no data function '{name}' (it has {', '.join(sorted(self))})")
        return self[name]


def load(
    code: Sequence[Path], ddls: Sequence[Path], settings: Path, before: Mapping[str, DataFunction] | None = None
) -> DataFunctions:
    """Load every function in the `data` folders below the given ones. If two have the same name, the first is used.

    A rejected function is replaced by its version in `before`, if there is one.
    """
    loaded, problems = loading.load(
        [folder / FOLDER for folder in code],
        [folder / FOLDER for folder in ddls],
        lambda path, ddl_path: _load_pair(path, ddl_path, settings),
        before,
    )
    loading.report("data.refused", "function", problems, loaded, before or {})
    return DataFunctions(loaded, problems, before)


def _load_pair(path: Path, ddl_path: Path, settings: Path) -> DataFunction:
    described = data_ddl.read(ddl_path)
    if path.suffix != ".py":
        values = loading.read_settings(settings / f"{described.name}.yaml", _agent_ddl(ddl_path))
        program = programs.load_data_function(path)
        return DataFunction(described.name, path, described, _in_program, values, b"", program)
    module, code = loading.import_code(path)
    functions = [name for name, thing in vars(module).items() if is_data(thing)]
    if functions != [described.name]:
        marked = ", ".join(functions) or "none"
        raise DDLError(f"{path}: must have one @data function, '{described.name}' as in {ddl_path}, not {marked}")
    function = vars(module)[described.name]
    loading.check_parameters(path, described, function, SUPPLIED_TO_DATA)
    values = loading.read_settings(settings / f"{path.stem}.yaml", _agent_ddl(ddl_path))
    modules = preloading.preloaded(code)
    return DataFunction(described.name, path, described, function, values, code, modules=modules)


def _in_program(query: str) -> None:
    """Stand for a function that is a program: it takes the query and no supplied arguments."""


def _agent_ddl(ddl_path: Path) -> ddl.DDL | None:
    """Return the DDL of the agent with the function's name, which describes the settings of both; None without one."""
    path = ddl_path.parent.parent / ddl_path.name
    return ddl.read(path) if path.is_file() else None
