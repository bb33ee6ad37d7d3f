"""Find the node's data functions: pair each file of a folder `data` with its DDL, as agents are.

A refused one is left out, and `faults` has one line that names the file and both sides; the rest serves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collective import data_ddl, ddl
from collective.agent import SUPPLIED_TO_DATA, is_data
from collective.errors import DDLError, UnknownAction
from collective.node.plugins import loading
from collective.node.plugins.loading import Loaded

FOLDER = "data"  # below each folder of agents, and of DDLs


@dataclass(frozen=True)
class DataFunction:
    """A checked pair of code and DDL. `settings` are those of the agent of the same name.

    `code` is what was checked, and what is run.
    """

    name: str
    path: Path
    ddl: ddl.Action
    function: Callable[..., Any]
    settings: Mapping[str, Any]
    code: bytes


class DataFunctions(Loaded[DataFunction]):
    """The data functions that serve, by name."""

    def find(self, name: str) -> DataFunction:
        """Return a data function; raise UnknownAction when this node has no such thing."""
        if name in self.refused:
            raise UnknownAction(f"this node has left the data function '{name}' out: {self.refused[name]}")
        if name not in self:
            raise UnknownAction(f"this node has no data function '{name}': it has {', '.join(sorted(self))}")
        return self[name]


def load(
    code: Sequence[Path], ddls: Sequence[Path], settings: Path, before: Mapping[str, DataFunction] | None = None
) -> DataFunctions:
    """Load every pair in the `data` folders of the given ones; of two with one name, the first folder's serves.

    Of a refused pair, what was loaded `before` serves on.
    """
    loaded, problems = loading.load(
        [folder / FOLDER for folder in code],
        [folder / FOLDER for folder in ddls],
        lambda path, description: _load_pair(path, description, settings),
        before,
    )
    loading.report("data.refused", "function", problems, loaded, before or {})
    return DataFunctions(loaded, problems)


def _load_pair(path: Path, description: Path, settings: Path) -> DataFunction:
    described = data_ddl.read(description)
    module, code = loading.import_code(path)
    functions = [name for name, thing in vars(module).items() if is_data(thing)]
    if functions != [described.name]:
        marked = ", ".join(functions) or "none"
        raise DDLError(f"{path}: must mark one function with @data, '{described.name}' as {description} says: {marked}")
    function = vars(module)[described.name]
    loading.check_parameters(path, described, function, SUPPLIED_TO_DATA)
    told = loading.read_settings(settings / f"{path.stem}.yaml")
    return DataFunction(described.name, path, described, function, told, code)
