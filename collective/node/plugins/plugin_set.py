"""All that a node can be asked for: its agents and data functions, loaded together and replaced together.

    at start          load(folders) ─────────► Plugins ─► Server
    when told to      load(folders, before) ─► Plugins ─► Server.use: each request sees one set from its beginning on

A pair that has become broken stays as it was `before`; one whose code or DDL was taken away is gone.
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
    """One set; never changed in place. `faults` are what is wrong with its files, a line each."""

    agents: LoadedAgents
    data: DataFunctions

    @property
    def problems(self) -> tuple[str, ...]:
        """All that was refused, also where something else serves in its place."""
        return (*self.agents.problems, *self.data.problems)


def load(code: Sequence[Path], ddls: Sequence[Path], settings: Path, before: Plugins | None = None) -> Plugins:
    """Load all that the folders hold; of two with one name, the first folder's serves."""
    return Plugins(
        agents.load(code, ddls, settings, before.agents if before else {}),
        data_functions.load(code, ddls, settings, before.data if before else {}),
    )
