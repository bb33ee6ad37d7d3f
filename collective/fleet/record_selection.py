"""Decide by its record alone whether a node is one of the targets, for what cannot ask the nodes each time."""

from __future__ import annotations

from collections.abc import Callable

from collective.errors import UsageError
from collective.filters import Filter, matches, no_data, uses_data
from collective.fleet.node_sets import ListedNodes, MatchingNodes, NodeSet
from collective.fleet.targets import Targets
from collective.registry import NodeRecord


def by_record(targets: Targets) -> Callable[[NodeRecord], bool]:
    """Return what selects the records of targets. Raises UsageError for targets that only nodes can decide."""
    if targets.limit is not None:
        raise UsageError("--limit: a random selection cannot be watched (name the nodes with -I)")
    if targets.method in ("broadcast", "ec2") or targets.discovery_timeout is not None:
        raise UsageError("--dm, --dt: nodes are watched in the registry, not asked")
    for wanted in (targets.filter, *_filters(targets.sets)):
        if functions := uses_data(wanted):
            raise UsageError(f"-S: the data function '{functions[0][0]}' cannot be watched: only nodes can evaluate it")
    return lambda record: _selects(targets, record)


def _selects(targets: Targets, record: NodeRecord) -> bool:
    if targets.nodes is not None and record.identity not in targets.nodes:
        return False
    if targets.sets is not None and not _in_set(targets.sets, record):
        return False
    return matches(targets.filter, record, no_data)


def _in_set(nodes: NodeSet, record: NodeRecord) -> bool:
    if isinstance(nodes, ListedNodes):
        return record.identity in nodes.names
    if isinstance(nodes, MatchingNodes):
        return matches(nodes.filter, record, no_data)
    left, right = _in_set(nodes.left, record), _in_set(nodes.right, record)
    return {",": left or right, "&": left and right, "!": left and not right}[nodes.operator]


def _filters(nodes: NodeSet | None) -> list[Filter]:
    if nodes is None or isinstance(nodes, ListedNodes):
        return []
    if isinstance(nodes, MatchingNodes):
        return [nodes.filter]
    return [*_filters(nodes.left), *_filters(nodes.right)]
