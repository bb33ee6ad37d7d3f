"""What a node is at the moment: its identity, its facts, and the plugins that serve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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


@dataclass
class NodeState:
    """A node of one collective. `plugins` is replaced as a whole; a request keeps the set that it started with."""

    collective: str
    identity: str
    facts: Facts
    plugins: Plugins

    def view(self, plugins: Plugins) -> NodeView:
        """Return what filters and policies see when the node serves `plugins`."""
        return NodeView(self.identity, self.facts.current, self.facts.classes, plugins.agents)
