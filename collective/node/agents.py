"""Find the node's agents: pair each Python file with its DDL, and refuse a pair that disagrees.

    load(folders of code, folders of DDLs, folder of settings) → Agents: {name: Agent} and `faults`

A refused agent is left out, and `faults` has one line that names the file and both sides; the rest serves.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from collective import ddl
from collective.agent import SUPPLIED, is_action
from collective.config import read_yaml
from collective.errors import ConfigError, DDLError, UnknownAction
from collective.node.plugin import import_agent

log = logging.getLogger(__name__)

INSIDE = "rpcutil"  # the one agent that answers inside the daemon; its functions may name `node`


@dataclass(frozen=True)
class Agent:
    """A checked pair of code and DDL. `functions` are its actions, by name; `settings` its settings file's content."""

    name: str
    path: Path
    ddl: ddl.DDL
    functions: Mapping[str, Callable[..., Any]]
    settings: Mapping[str, Any]

    def supplied(self, action: str, available: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of the `available` keyword-only arguments that the action's function names."""
        named = inspect.signature(self.functions[action]).parameters
        return {name: value for name, value in available.items() if name in named}


class Agents(Mapping[str, Agent]):
    """The agents that serve, by name.

    `refused` says of the others why not, a line each, by name; `faults` are all lines, those about second files
    of a name included.
    """

    def __init__(self, agents: Mapping[str, Agent], faults: Sequence[tuple[str, str]] = ()) -> None:
        self._agents = dict(agents)
        self.faults = tuple(line for _, line in faults)
        self.refused = {name: line for name, line in faults if name not in agents}

    def __getitem__(self, name: str) -> Agent:
        return self._agents[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._agents)

    def __len__(self) -> int:
        return len(self._agents)

    def find(self, agent: str, action: str) -> tuple[Agent, ddl.Action]:
        """Return an agent and its action; raise UnknownAction when this node has no such thing."""
        if agent in self.refused:
            raise UnknownAction(f"this node has left the agent '{agent}' out: {self.refused[agent]}")
        if agent not in self._agents:
            raise UnknownAction(f"this node has no agent '{agent}': it has {', '.join(sorted(self._agents))}")
        return self._agents[agent], self._agents[agent].ddl.action(action)


def bundled() -> Path:
    """Return the folder of the standard agents' code."""
    return Path(str(resources.files("collective.agents")))


def load(code: Sequence[Path], ddls: Sequence[Path], settings: Path) -> Agents:
    """Load every pair of the given folders; of two with one name, the first folder's serves."""
    loaded: dict[str, Agent] = {}
    faults: list[tuple[str, str]] = []  # agent's name, what is wrong
    descriptions = _index(ddls, "*.json", faults)
    sources = _index(code, "*.py", faults)
    for name, path in sources.items():
        try:
            if name not in descriptions:
                raise DDLError(f"{path}: there is no DDL: write {name}.json into {ddls[-1]}")
            loaded[name] = _load_pair(path, descriptions[name], settings / f"{name}.yaml")
        except (DDLError, ConfigError) as fault:
            faults.append((name, str(fault)))
    for name, path in descriptions.items():
        if name not in sources:
            faults.append((name, f"{path}: there is no code: write {name}.py into {code[-1]}"))
    for name, line in faults:
        log.error("agent.refused", extra={"agent": name, "fault": line})
    return Agents(loaded, faults)


def _index(folders: Sequence[Path], pattern: str, faults: list[tuple[str, str]]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.glob(pattern)):
            if path.name.startswith("_"):
                continue
            if path.stem in found:
                line = f"{path}: '{path.stem}' is taken by {found[path.stem]}: give it another name"
                faults.append((path.stem, line))
            else:
                found[path.stem] = path
    return found


def _load_pair(path: Path, description: Path, settings_file: Path) -> Agent:
    described = ddl.read(description)
    try:
        module = import_agent(path)
    except BaseException as fault:
        if isinstance(fault, KeyboardInterrupt):
            raise
        raise DDLError(f"{path}: cannot be imported: {_one_line(fault)}") from None
    functions = {name: thing for name, thing in vars(module).items() if is_action(thing)}
    for name in sorted(functions.keys() ^ described.actions.keys()):
        has, lacks = (path, description) if name in functions else (description, path)
        raise DDLError(f"{path}: action '{name}' is in {has}, and not in {lacks}")
    for name, function in functions.items():
        _check_parameters(path, described.actions[name], function)
    settings = read_yaml(settings_file) if settings_file.exists() else {}
    if not isinstance(settings or {}, dict):
        raise ConfigError(f"{settings_file}: must hold keys and values, not {type(settings).__name__}")
    return Agent(described.name, path, described, functions, settings or {})


def _one_line(fault: BaseException) -> str:
    return " ".join(f"{type(fault).__name__}: {fault}".split())


def _check_parameters(path: Path, described: ddl.Action, function: Callable[..., Any]) -> None:
    label = f"{path}: {described.agent}.{described.name}"
    inputs = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            _check_supplied(label, described.agent, parameter)
        elif parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            inputs.append(parameter.name)
            _check_optional(label, described, parameter)
        else:
            raise DDLError(f"{label}: parameter '{parameter}' cannot be filled by name")
    if sorted(inputs) != sorted(described.inputs):
        raise DDLError(f"{label}: code takes {sorted(inputs)}, DDL says {sorted(described.inputs)}")


def _check_supplied(label: str, agent: str, parameter: inspect.Parameter) -> None:
    known = SUPPLIED | {"node"} if agent == INSIDE else SUPPLIED
    if parameter.name not in known:
        raise DDLError(
            f"{label}: nobody supplies the keyword-only parameter '{parameter.name}': "
            f"there are {', '.join(sorted(known))}"
        )


def _check_optional(label: str, described: ddl.Action, parameter: inspect.Parameter) -> None:
    always_given = parameter.name in described.required or "default" in described.inputs.get(parameter.name, {})
    if parameter.name in described.inputs and not always_given and parameter.default is parameter.empty:
        raise DDLError(f"{label}: '{parameter.name}' may be left out, says the DDL; the code has no default for it")
