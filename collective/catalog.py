"""The DDLs of a caller: the standard agents', those in configured folders, and those of installed distributions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective import agent_versions, installed
from collective.bundled import DDLS
from collective.errors import DDLError, RPCError, UnknownAction, UsageError
from collective.foreign_ddl import RUBY, ruby_files
from collective.suggestions import suggest

if TYPE_CHECKING:
    from collective.ddl import DDL, Action
    from collective.filters import DataTest, Filter


class Catalog:
    """Find DDLs by agent name: the standard ones first, then those in `folders`, then those of installed distributions.

    A DDL is read and checked once, when it is first used. DDLs of data functions are in the subfolder `data` of each
    folder.
    """

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        self._read: dict[str, DDL] = {}
        self._paths: dict[str, Path] = {}
        self._data_paths: dict[str, Path] = {}
        self._complete = False
        self._fetched: set[str] = set()
        self.hint = "run 'crpc help' for a list"  # in the error about an unknown agent
        self.ruby_paths: dict[str, Path] = {}  # of MCollective's DDL files, which must be converted, by agent
        for folder in (DDLS, *folders):
            self._add(folder)
            for path in ruby_files(folder):
                self.ruby_paths.setdefault(path.stem, path)

    @property
    def paths(self) -> Mapping[str, Path]:
        """The DDL files of all agents by name; they are not checked yet."""
        self._add_installed()
        return self._paths

    @property
    def data_paths(self) -> Mapping[str, Path]:
        """The DDL files of all data functions by name."""
        self._add_installed()
        return self._data_paths

    def has(self, agent: str) -> bool:
        """Return whether there is a DDL of an agent, given as NAME or NAME@VERSION.

        Installed distributions are searched only if needed.
        """
        name = agent.partition("@")[0]
        return name in self._paths or name in self.paths

    def add_fetched(self, agent: str, path: Path) -> None:
        """Add the DDL of an agent that was fetched from a node.

        Its `display` cannot hide failed replies: `ok` counts as `always`.
        """
        self._paths[agent] = path
        self._fetched.add(agent)

    def _add(self, folder: Path) -> None:
        for path in sorted(folder.glob("*.json")):
            self._paths.setdefault(path.stem, path)
        for path in sorted((folder / "data").glob("*.json")):
            self._data_paths.setdefault(path.stem, path)

    def _add_installed(self) -> None:
        if not self._complete:
            self._complete = True
            for folder in installed.ddl_folders():
                self._add(folder)

    def ddl(self, agent: str) -> DDL:
        """Return the DDL of NAME or NAME@VERSION; raise UsageError or DDLError."""
        agent = agent.partition("@")[0]
        if not self.has(agent) and agent in self.ruby_paths:
            raise DDLError(f"{self.ruby_paths[agent]}: {RUBY}")
        if not self.has(agent):
            hint = suggest(agent, self.paths, self.hint)
            raise UsageError(f"unknown agent '{agent}' ({hint})")
        if agent not in self._read:
            from collective.ddl import read

            found = read(self._paths[agent])
            self._read[agent] = _showing_failures(found) if agent in self._fetched else found
        return self._read[agent]

    def action(self, agent: str, action: str) -> Action:
        """Return an agent's action; raise UsageError for an unknown one, DDLError for an invalid DDL.

        `agent` is NAME, or NAME@VERSION to demand a version of nodes, such as `package@>=1.2`.
        """
        name, demanded = agent_versions.split(agent)
        try:
            return replace(self.ddl(name).action(action), demanded=demanded)
        except UnknownAction as error:
            raise UsageError(str(error)) from None

    def data_function(self, name: str) -> Action:
        """Return a data function as an action; raise UsageError for an unknown one, DDLError for an invalid DDL."""
        if name not in self._data_paths and name not in self.data_paths:
            hint = suggest(name, self.data_paths, f"data functions: {', '.join(sorted(self.data_paths))}")
            raise UsageError(f"unknown data function '{name}' ({hint})")
        from collective.data_ddl import read

        return read(self._data_paths[name])

    def check_filter(self, wanted: Filter) -> None:
        """Check the data functions in a filter before anything is sent: a misspelt field would match no node.

        Raises UsageError, naming the known functions or fields, and DDLError for an invalid DDL.
        """
        from collective.filters import DataTest, leaves

        for test in leaves(wanted):
            if isinstance(test, DataTest):
                self._check_data_test(test)

    def _check_data_test(self, test: DataTest) -> None:
        function, where = self.data_function(test.function), f"{test.function}({test.query!r})"
        if test.field not in function.outputs:
            hint = suggest(test.field, function.outputs, f"it has {', '.join(function.outputs)}")
            raise UsageError(f"{where}: unknown field '{test.field}' ({hint})")
        _check_value(test, function.outputs[test.field], where)
        try:
            function.check_input({"query": test.query})
        except RPCError as error:
            raise UsageError(f"{where}: {error}") from None


def _showing_failures(found: DDL) -> DDL:
    actions = {
        name: replace(one, display="always") if one.display == "ok" else one for name, one in found.actions.items()
    }
    return replace(found, actions=actions)


def _check_value(test: DataTest, field: Mapping[str, Any], where: str) -> None:
    """Refuse a value that the field never has: `=` would match no node, and `!=` every node."""
    from collective.filters.checks import expression_of
    from collective.filters.ordering import number

    if expression_of(test.operator, test.value) is not None:
        return
    types = field.get("type", ())
    kinds = {types} if isinstance(types, str) else set(types) - {"null"}
    if kinds and kinds <= {"integer", "number"} and number(test.value) is None:
        raise UsageError(f"{where}.{test.field}: is a number, so it cannot be compared with '{test.value}'")
    values = field.get("enum", (True, False) if kinds == {"boolean"} else ())
    known = [value if isinstance(value, str) else json.dumps(value) for value in values if value is not None]
    if known and test.operator in ("==", "!=") and test.value not in known:
        hint = suggest(test.value, known, f"values: {', '.join(known)}")
        raise UsageError(f"{where}.{test.field}: never has the value '{test.value}' ({hint})")
