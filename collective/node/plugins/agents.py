"""Load the node's agents: match each file of code with its DDL, and reject an agent whose code and DDL disagree.

    load(folders of code, folders of DDLs, folder of settings) → LoadedAgents: {name: LoadedAgent}, `problems`

A rejected agent is not loaded, and `problems` has a line that names the file and the difference. Other agents load.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collective import ddl
from collective.agent import SUPPLIED, is_action
from collective.errors import DDLError, UnknownAction
from collective.node.actions import preloading
from collective.node.plugins import loading, programs
from collective.node.plugins.loading import LoadedPlugins
from collective.node.plugins.programs import ActionProgram

log = logging.getLogger(__name__)

FACTS = "fact"  # the agent after whose actions the node reads its facts again
RPCUTIL, CONTROL, PLUGINS = "rpcutil", "control", "plugins"
# Agents that run inside the daemon; their functions may have an argument `node`.
INSIDE = frozenset({RPCUTIL, CONTROL, PLUGINS})


@dataclass(frozen=True)
class LoadedAgent:
    """An agent's code and DDL. `functions` are its actions by name; `settings` is the content of its settings file.

    `code` is the compiled file as it was checked. Workers run it, so a changed file has no effect before a reload.
    `warnings` are lines about the node's setup from the agent's own checks. An agent that is not written in Python has
    `programs`, its executables by action, in place of functions and code. `modules` are those that its processes have
    imported before they start (preloading.py).
    """

    name: str
    path: Path
    ddl: ddl.DDL
    functions: Mapping[str, Callable[..., Any]]
    settings: Mapping[str, Any]
    code: bytes
    warnings: tuple[str, ...] = ()
    programs: Mapping[str, ActionProgram] = field(default_factory=dict)
    modules: tuple[str, ...] = ()

    def supplied(self, action: str, available: Mapping[str, Any]) -> dict[str, Any]:
        """Return the `available` arguments that the action's function has as keyword-only parameters."""
        return loading.supplied(self.functions[action], available)


class LoadedAgents(LoadedPlugins[LoadedAgent]):
    """The loaded agents, by name."""

    def find(self, agent: str, action: str) -> tuple[LoadedAgent, ddl.Action]:
        """Return an agent and its action. Raise UnknownAction when this node does not have them."""
        if agent in self.refused:
            raise UnknownAction(f"agent '{agent}' failed to load on this node: {self.refused[agent]}")
        if agent not in self:
            hint = "if it was installed since the node's last reload, reload the node"
            raise UnknownAction(f"this node has no agent '{agent}' (it has {', '.join(sorted(self))}; {hint})")
        return self[agent], self[agent].ddl.action(action)

    def action(self, agent: str, action: str) -> ddl.Action | None:
        """Return the DDL of an action; None when this node does not have it."""
        return self[agent].ddl.actions.get(action) if agent in self else None


def bundled() -> Path:
    """Return the folder of the standard agents' code."""
    return loading.bundled_code()


def load(
    code: Sequence[Path], ddls: Sequence[Path], settings: Path, before: Mapping[str, LoadedAgent] | None = None
) -> LoadedAgents:
    """Load every agent in the given folders. If two have the same name, the one in the first folder is used.

    A rejected agent is replaced by its version in `before`, if there is one.
    """
    loaded, problems = loading.load(code, ddls, lambda path, ddl_path: _load_pair(path, ddl_path, settings), before)
    loading.report("agent.refused", "agent", problems, loaded, before or {})
    for name, agent in loaded.items():
        for line in agent.warnings:
            log.warning("agent.warning", extra={"agent": name, "problem": line})
    return LoadedAgents(loaded, problems, before)


def _load_pair(path: Path, ddl_path: Path, settings: Path) -> LoadedAgent:
    described = ddl.read(ddl_path)
    if path.suffix != ".py":
        return _load_program(path, described, settings)
    module, code = loading.import_code(path)
    functions = {name: thing for name, thing in vars(module).items() if is_action(thing)}
    for name in sorted(functions.keys() ^ described.actions.keys()):
        raise DDLError(f"{path}: {_missing(name, name in functions, hasattr(module, name), ddl_path)}")
    supplied = SUPPLIED | {"node"} if described.name in INSIDE else SUPPLIED
    for name, function in functions.items():
        loading.check_parameters(path, described.actions[name], function, supplied)
    values = loading.read_settings(settings / f"{path.stem}.yaml", described)
    warnings = loading.run_checks(described.name, module, values)
    modules = () if described.name in INSIDE else preloading.preloaded(code)
    return LoadedAgent(described.name, path, described, functions, values, code, warnings, modules=modules)


def _missing(name: str, has_code: bool, has_function: bool, ddl_path: Path) -> str:
    """Return what is wrong with an action that only the code or only the DDL has."""
    if has_code:
        return f"action '{name}' is not in {ddl_path} (describe it there, or remove '@action')"
    if has_function:
        return f"action '{name}' of {ddl_path} is not marked as an action (write '@action' above it)"
    return f"action '{name}' of {ddl_path} is missing (write a function '{name}' marked with '@action')"


def _load_program(path: Path, described: ddl.DDL, settings: Path) -> LoadedAgent:
    if described.name in INSIDE:
        raise DDLError(f"{path}: the agent '{described.name}' runs inside the daemon, so it must be Python")
    values = loading.read_settings(settings / f"{described.name}.yaml", described)
    executables = programs.load_agent(path, described, values)
    return LoadedAgent(described.name, path, described, {}, values, b"", programs=executables)
