"""Know whom to expect before a request is sent: the registry's nodes, those that answer a broadcast, or names given."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from collective.durations import in_words
from collective.errors import NoNodes, UsageError
from collective.filters import Budget, Filter, matches
from collective.fleet.targets import Targets
from collective.registry import NodeRecord, Nodes

log = logging.getLogger(__name__)

_SEARCH_SECONDS = 2.0  # of regular expressions, for all nodes together


def from_registry(registry: Nodes, wanted: Filter, agent: str) -> list[str]:
    """Return the living nodes that match and have the agent, sorted.

    Raise NoNodes, saying why, when none does, and UsageError for a regular expression that takes too long.
    """
    now = registry.now()
    alive = [record for record in registry.nodes() if record.alive(now)]
    matching = list(_matching(wanted, alive))
    serving = sorted(record.identity for record in matching if agent in record.agents)
    if not serving:
        raise NoNodes(_why_nobody(alive, matching, agent))
    for record in matching:
        if record.is_contested(now):
            log.warning("identity.contested", extra={"error": f"two machines answer to the name {record.identity}"})
    return serving


def _matching(wanted: Filter, records: Iterable[NodeRecord]) -> Iterator[NodeRecord]:
    budget = Budget(_SEARCH_SECONDS)
    for record in records:
        if matches(wanted, record, _no_data, budget):
            yield record
        if budget.spent:
            raise UsageError(f"the filter's regular expressions take more than {_SEARCH_SECONDS} s: make them simpler")


def why_silent(registry: Nodes, names: Iterable[str]) -> dict[str, str]:
    """Return what the registry knows about nodes that did not answer, by name; nothing about those that it expects."""
    now = registry.now()
    known = {record.identity: record for record in registry.nodes()}
    return {name: text for name in names if (text := _absence(known.get(name), now))}


def _absence(record: NodeRecord | None, now: float) -> str | None:
    if record is None:
        return "the registry does not know it"
    if record.left is not None:
        return f"it stopped {in_words(now - record.left)} ago, saying farewell"
    if not record.alive(now):
        return f"it was last seen {in_words(now - record.last_seen)} ago"
    return None


def _why_nobody(alive: list[NodeRecord], matching: list[NodeRecord], agent: str) -> str:
    if not alive:
        return "no node is alive in the registry"
    if not matching:
        return f"none of {len(alive)} nodes matches the filter"
    for record in matching:
        if agent in record.refused:
            return f"no node serves '{agent}': {record.identity} has left it out: {record.refused[agent]}"
    return f"none of {len(matching)} matching nodes has the agent '{agent}'"


def named(targets: Targets) -> list[str] | None:
    """Return the identities of `targets` that are only names, which need no discovery; None for other targets."""
    wanted = targets.filter
    if wanted == Filter():
        return list(targets.nodes) if targets.nodes else None
    literal = wanted.literal_identities
    if not literal or wanted.identity_patterns or wanted != Filter(identities=wanted.identities):
        return None
    return sorted(literal & set(targets.nodes)) if targets.nodes else sorted(literal)


def _no_data(_function: str, _query: str) -> None:
    """Answer a filter's data function: only nodes can."""
