"""Know whom to expect before a request is sent: the registry's nodes, those that answer a broadcast, or names given."""

from __future__ import annotations

from collections.abc import Iterable

from collective.errors import NoNodes
from collective.filters import Filter, matches
from collective.registry import NodeRecord, Registry


def from_registry(registry: Registry, wanted: Filter, agent: str) -> list[str]:
    """Return the living nodes that match and have the agent, sorted. Raise NoNodes, saying why, when none does."""
    now = registry.now()
    alive = [record for record in registry.nodes() if record.alive(now)]
    matching = [record for record in alive if matches(wanted, record, _no_data)]
    serving = sorted(record.identity for record in matching if agent in record.agents)
    if not serving:
        raise NoNodes(_why_nobody(alive, matching, agent))
    return serving


def _why_nobody(alive: list[NodeRecord], matching: list[NodeRecord], agent: str) -> str:
    if not alive:
        return "no node is alive in the registry"
    if not matching:
        return f"none of {len(alive)} nodes matches the filter"
    for record in matching:
        if agent in record.refused:
            return f"no node serves '{agent}': {record.identity} has left it out: {record.refused[agent]}"
    return f"none of {len(matching)} matching nodes has the agent '{agent}'"


def literal(identities: Iterable[str], wanted: Filter) -> list[str] | None:
    """Return the names that a filter consists of, when it is nothing but literal names: no discovery is needed."""
    only_names = Filter(identities=wanted.identities)
    if wanted != only_names or not wanted.identities or any(_is_pattern(name) for name in wanted.identities):
        return None
    return sorted(set(identities) & set(wanted.identities)) if identities else sorted(set(wanted.identities))


def _is_pattern(name: str) -> bool:
    return len(name) > 1 and name.startswith("/") and name.endswith("/")


def _no_data(_function: str, _query: str) -> None:
    """Answer a filter's data function: only nodes can."""
