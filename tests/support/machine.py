"""A node for tests of filters, without a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from collective.filters import FactTest, Filter, matches


@dataclass
class Machine:
    """A node to match against; `data` holds results of data functions by function and query."""

    identity: str = "web1.my.net"
    facts: Any = field(default_factory=dict)
    classes: Any = ()
    agents: Any = ()
    data: Any = field(default_factory=dict)

    def call(self, function: str, query: str) -> Mapping[str, Any] | None:
        """Return the result of a data function, as a node does."""
        answers = self.data.get(function)
        return None if answers is None else answers.get(query, {})


def hits(filter_: Filter, node: Machine) -> bool:
    """Return whether a filter matches a node."""
    return matches(filter_, node, node.call)


def of_fact(value: Any, operator: str, wanted: str) -> bool:
    """Return whether a node whose fact `it` is `value` matches a test of it."""
    return hits(Filter(facts=(FactTest("it", operator, wanted),)), Machine(facts={"it": value}))
