"""Find the nodes to expect before a request is sent: from the registry, or from names."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator

from collective import messages
from collective.durations import in_words
from collective.errors import NoNodes, UsageError
from collective.filters import Budget, Filter, matches
from collective.fleet.targets import Targets
from collective.registry import NodeRecord, Nodes
from collective.text import plural

log = logging.getLogger(__name__)

_SEARCH_SECONDS = 2.0  # for the regular expressions of a filter on all nodes together


def from_registry(registry: Nodes, wanted: Filter, agent: str) -> list[str]:
    """Return the names of the nodes that are alive, match and have the agent, sorted.

    Raises NoNodes, with the reason, when there are none, and UsageError for a regular expression that takes too long.
    """
    now = registry.now()
    alive = [record for record in registry.nodes() if record.alive(now)]
    matching = list(_matching(wanted, alive))
    serving = sorted(record.identity for record in matching if agent in record.agents)
    if not serving:
        raise NoNodes(_no_nodes_reason(alive, matching, agent))
    for record in matching:
        if record.is_contested(now):
            log.warning("identity.contested", extra={"error": f"two machines use the identity '{record.identity}'"})
    return serving


def _matching(wanted: Filter, records: Iterable[NodeRecord]) -> Iterator[NodeRecord]:
    budget = Budget(_SEARCH_SECONDS)
    for record in records:
        if matches(wanted, record, _no_data, budget):
            yield record
        if budget.spent:
            raise UsageError(f"filter: its regular expressions take more than {_SEARCH_SECONDS} s (simplify them)")


def why_silent(registry: Nodes, names: Iterable[str]) -> dict[str, str]:
    """Return why nodes are silent according to the registry, by name; nodes that should have answered are omitted."""
    now = registry.now()
    known = {record.identity: record for record in registry.nodes()}
    return {name: reason for name in names if (reason := _absence(known.get(name), now))}


def _absence(record: NodeRecord | None, now: float) -> str | None:
    if record is None:
        return "not in the registry"
    if record.left is not None:
        return f"stopped cleanly {in_words(now - record.left)} ago"
    if not record.alive(now):
        return f"last seen {in_words(now - record.last_seen)} ago"
    if _precedes(record.version, messages.SINCE):
        return (
            f"it runs collective {record.version}, which does not support the message format {messages.VERSION} of "
            f"this caller (upgrade the node to {messages.SINCE} or later)"
        )
    return None


def _precedes(version: str, other: str) -> bool:
    """Return whether a version such as 0.1.0 is older than another; False for one that has another form."""
    numbers = [tuple(map(int, re.findall(r"[0-9]{1,9}", text)[:3])) for text in (version, other)]
    return bool(numbers[0]) and numbers[0] < numbers[1]


def _no_nodes_reason(alive: list[NodeRecord], matching: list[NodeRecord], agent: str) -> str:
    if not alive:
        return "no node is alive in the registry"
    if not matching:
        return f"no node matches the filter ({plural(len(alive), 'node')} alive)"
    for record in matching:
        if agent in record.refused:
            return f"no node has the agent '{agent}': it failed to load on {record.identity}: {record.refused[agent]}"
    return f"none of the matching nodes has the agent '{agent}' ({plural(len(matching), 'node')})"


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
    """Stand in for data functions, which only nodes can run."""
