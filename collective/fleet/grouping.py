"""Limit how many nodes of one group work at the same time: groups are the values of a fact.

    read_limit("--per", "az=1")      at most one node of each availability zone
    read_limit("--per", "az=25%")    at most a quarter of the nodes of each zone, at least one

Nodes without the fact are one group. A node whose fact is a list belongs to the group of each element.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from collective.errors import UsageError
from collective.fleet.amounts import Amount, read_amount

Facts = Mapping[str, Mapping[str, Any]]  # by node
ABSENT = "(no value)"  # the group of nodes without the fact


@dataclass(frozen=True)
class GroupLimit:
    """At most `amount` of the nodes with the same value of `fact` work at the same time."""

    fact: str
    amount: Amount

    def __str__(self) -> str:
        """Return the limit as it is written: `az=25%`."""
        return f"{self.fact}={self.amount}"


def read_limit(option: str, value: GroupLimit | str) -> GroupLimit:
    """Read `FACT=N` or `FACT=N%`; raise UsageError, naming `option`, for an invalid value."""
    if isinstance(value, GroupLimit):
        return value
    fact, equals, amount = str(value).rpartition("=")
    if not (fact and equals):
        raise UsageError(f"{option} '{value}': must be a fact and a number of nodes, such as az=1 or az=25%")
    return GroupLimit(fact, read_amount(f"{option} {fact}=", amount))


def values(facts: Mapping[str, Any], fact: str) -> list[str]:
    """Return the values of a fact as strings: elements of a list, keys of a mapping; ABSENT when there are none."""
    from collective.filters import look_up  # only here: a help page needs no filters

    found = look_up(facts, fact)
    several = found if isinstance(found, (list, tuple, Mapping)) else [] if found is None else [found]
    return [_string(value) for value in several] or [ABSENT]


def _string(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class NodeGroups:
    """The groups of the nodes of a rollout, and how many nodes of each are at work."""

    def __init__(self, nodes: Collection[str], limits: Sequence[GroupLimit], facts: Facts) -> None:
        self._groups = {node: tuple(_groups(node, limits, facts)) for node in nodes} if limits else {}
        sizes = Counter(group for groups in self._groups.values() for group in groups)
        self._most = {group: limits[group[0]].amount.floor(size) for group, size in sizes.items()}
        self._working: Counter[tuple[int, str]] = Counter()

    def __bool__(self) -> bool:
        """Whether there is any limit."""
        return bool(self._groups)

    def begin(self, node: str) -> None:
        """Record that a node starts to work."""
        self._working.update(self._groups.get(node, ()))

    def end(self, node: str) -> None:
        """Record that a node has ended its work."""
        self._working.subtract(self._groups.get(node, ()))

    def fitting(self, nodes: Iterable[str]) -> Iterator[str]:
        """Yield those of `nodes` that may start together now, in their order."""
        working = Counter(self._working)
        for node in nodes:
            groups = self._groups[node]
            if all(working[group] < self._most[group] for group in groups):
                working.update(groups)
                yield node


def _groups(node: str, limits: Sequence[GroupLimit], facts: Facts) -> Iterator[tuple[int, str]]:
    """Yield the groups of a node: the number of the limit, and the value."""
    for number, limit in enumerate(limits):
        yield from {(number, value) for value in values(facts.get(node, {}), limit.fact)}
