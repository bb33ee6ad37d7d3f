"""The agents and data functions of a node, loaded together and replaced together.

    at start      load(folders) ─────────► Plugins ─► Server
    at a reload   load(folders, before) ─► Plugins ─► Server.use: each request uses one set from start to end

A plugin that is no longer valid keeps its version in `before`. One whose code or DDL was deleted is removed.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from collective import data_ddl
from collective.node.plugins import agents, data_functions
from collective.node.plugins.agents import LoadedAgents
from collective.node.plugins.data_functions import DataFunctions
from collective.policy import Actions
from collective.policy.input_types import input_types
from collective.suggestions import suggest

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plugins:
    """One set of plugins. It is never changed in place."""

    agents: LoadedAgents
    data: DataFunctions
    unused: tuple[str, ...] = ()  # error lines of settings files without a plugin

    @property
    def problems(self) -> tuple[str, ...]:
        """The error lines of all rejected plugins, also of those whose last valid version serves, and of settings."""
        warnings = [line for agent in self.agents.values() for line in agent.warnings]
        # An agent and a data function of one name share a file of settings.
        return tuple(dict.fromkeys((*self.agents.problems, *self.data.problems, *warnings, *self.unused)))

    @cached_property
    def inputs(self) -> Actions:
        """The types of the inputs of each action and data function, for rules of the policy."""
        ddls = [agent.ddl for agent in self.agents.values()]
        actions = {(one.name, name): input_types(action.input) for one in ddls for name, action in one.actions.items()}
        data = {(data_ddl.AGENT, name): input_types(function.ddl.input) for name, function in self.data.items()}
        return actions | data

    @property
    def others(self) -> tuple[str, ...]:
        """The problems of data functions and settings; callers learn those of agents by the agent's name."""
        return (*self.data.problems, *self.unused)


def load(code: Sequence[Path], ddls: Sequence[Path], settings: Path, before: Plugins | None = None) -> Plugins:
    """Load all plugins in the folders. If two have the same name, the one in the first folder is used."""
    loaded_agents = agents.load(code, ddls, settings, before.agents if before else {})
    loaded_data = data_functions.load(code, ddls, settings, before.data if before else {})
    names = {*loaded_agents, *loaded_agents.refused, *loaded_data, *loaded_data.refused}
    unused = tuple(_unused_settings(settings, names))
    for line in unused:
        log.warning("settings.unused", extra={"problem": line})
    return Plugins(loaded_agents, loaded_data, unused)


def _unused_settings(folder: Path, names: Collection[str]) -> Iterator[str]:
    """Yield an error line for each file that looks like settings but belongs to no plugin."""
    for path in sorted(folder.glob("*.y*ml")):
        if path.stem not in names:
            yield f"{path}: not read: no agent has this name ({suggest(path.stem, names, 'delete it')})"
        elif path.suffix != ".yaml":
            yield f"{path}: not read (rename it to {path.stem}.yaml)"
