"""What a node is at the moment: its identity, its facts, and the plugins that serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from collective.node.facts import Facts
from collective.node.plugins.agents import LoadedAgents
from collective.node.plugins.plugin_set import Plugins


@dataclass(frozen=True)
class NodeView:
    """What filters and policies see of this node."""

    identity: str
    facts: Mapping[str, Any]
    classes: frozenset[str]
    agents: LoadedAgents


class CheckedFile(Protocol):
    """A file that is read again when it changes."""

    @property
    def problems(self) -> Sequence[str]:
        """What is wrong with it now, one line per problem."""


@dataclass
class NodeState:
    """A node of one collective. `plugins` is replaced as a whole; a request keeps the set that it started with."""

    collective: str
    identity: str
    facts: Facts
    plugins: Plugins
    files: Sequence[CheckedFile] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """The problems of everything that is read while the node runs, except agents, one line per problem."""
        found = (*self.plugins.others, *self.facts.problems, *(line for file in self.files for line in file.problems))
        return tuple(dict.fromkeys(found))

    def view(self, plugins: Plugins) -> NodeView:
        """Return what filters and policies see when the node serves `plugins`."""
        return NodeView(self.identity, self.facts.current, self.facts.classes, plugins.agents)
