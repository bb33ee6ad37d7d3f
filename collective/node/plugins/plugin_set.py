"""The agents and data functions of a node, loaded together and replaced together.

    at start      load(folders) ─────────► Plugins ─► Server
    at a reload   load(folders, before) ─► Plugins ─► Server.use: each request uses one set from start to end

A plugin that is no longer valid keeps its version in `before`. One whose code or DDL was deleted is removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from collective.node.plugins import agents, data_functions
from collective.node.plugins.agents import LoadedAgents
from collective.node.plugins.data_functions import DataFunctions


@dataclass(frozen=True)
class Plugins:
    """One set of plugins. It is never changed in place."""

    agents: LoadedAgents
    data: DataFunctions

    @property
    def problems(self) -> tuple[str, ...]:
        """The error lines of all rejected plugins, also of those whose last valid version is in use."""
        return (*self.agents.problems, *self.data.problems)


def load(code: Sequence[Path], ddls: Sequence[Path], settings: Path, before: Plugins | None = None) -> Plugins:
    """Load all plugins in the folders. If two have the same name, the one in the first folder is used."""
    return Plugins(
        agents.load(code, ddls, settings, before.agents if before else {}),
        data_functions.load(code, ddls, settings, before.data if before else {}),
    )
