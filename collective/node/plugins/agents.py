"""Find the node's agents: pair each Python file with its DDL, and refuse a pair that disagrees.

    load(folders of code, folders of DDLs, folder of settings) → Agents: {name: Agent} and `faults`

A refused agent is left out, and `faults` has one line that names the file and both sides; the rest serves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from collective import ddl
from collective.agent import SUPPLIED, is_action
from collective.errors import DDLError, UnknownAction
from collective.node.plugins import loading
from collective.node.plugins.loading import Loaded

INSIDE = "rpcutil"  # the one agent that answers inside the daemon; its functions may name `node`


@dataclass(frozen=True)
class LoadedAgent:
    """A checked pair of code and DDL. `functions` are its actions, by name; `settings` its settings file's content.

    `code` is what was checked, and what is run: a file that is changed counts when it is loaded, not before.
    """

    name: str
    path: Path
    ddl: ddl.DDL
    functions: Mapping[str, Callable[..., Any]]
    settings: Mapping[str, Any]
    code: bytes

    def supplied(self, action: str, available: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of the `available` keyword-only arguments that the action's function names."""
        return loading.supplied(self.functions[action], available)


class LoadedAgents(Loaded[LoadedAgent]):
    """The agents that serve, by name."""

    def find(self, agent: str, action: str) -> tuple[LoadedAgent, ddl.Action]:
        """Return an agent and its action; raise UnknownAction when this node has no such thing."""
        if agent in self.refused:
            raise UnknownAction(f"this node has left the agent '{agent}' out: {self.refused[agent]}")
        if agent not in self:
            raise UnknownAction(f"this node has no agent '{agent}': it has {', '.join(sorted(self))}")
        return self[agent], self[agent].ddl.action(action)

    def action(self, agent: str, action: str) -> ddl.Action | None:
        """Return what the DDL says of an action; None when this node has no such thing."""
        return self[agent].ddl.actions.get(action) if agent in self else None


def bundled() -> Path:
    """Return the folder of the standard agents' code."""
    return Path(str(resources.files("collective.agents")))


def load(
    code: Sequence[Path], ddls: Sequence[Path], settings: Path, before: Mapping[str, LoadedAgent] | None = None
) -> LoadedAgents:
    """Load every pair of the given folders; of two with one name, the first folder's serves.

    Of a refused pair, what was loaded `before` serves on.
    """
    loaded, problems = loading.load(
        code, ddls, lambda path, description: _load_pair(path, description, settings), before
    )
    loading.report("agent.refused", "agent", problems, loaded, before or {})
    return LoadedAgents(loaded, problems)


def _load_pair(path: Path, description: Path, settings: Path) -> LoadedAgent:
    described = ddl.read(description)
    module, code = loading.import_code(path)
    functions = {name: thing for name, thing in vars(module).items() if is_action(thing)}
    for name in sorted(functions.keys() ^ described.actions.keys()):
        has, lacks = (path, description) if name in functions else (description, path)
        raise DDLError(f"{path}: action '{name}' is in {has}, and not in {lacks}")
    supplied = SUPPLIED | {"node"} if described.name == INSIDE else SUPPLIED
    for name, function in functions.items():
        loading.check_parameters(path, described.actions[name], function, supplied)
    told = loading.read_settings(settings / f"{path.stem}.yaml")
    return LoadedAgent(described.name, path, described, functions, told, code)
