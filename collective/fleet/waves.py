"""Divide the nodes of a call into ranks and waves, before anything is sent.

    order_by role=db,app,web      ranks: first the nodes with role=db, then app, then web, then all others
    waves 1,5,10%,rest            in each rank: one node, then five, then a tenth of the rank, then the rest

A wave begins when every node of the wave before has its outcome. The last size is repeated until a rank is complete.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from collective.errors import UsageError
from collective.fleet.amounts import Amount, read_amount
from collective.fleet.grouping import ABSENT, Facts, values

REST = "rest"
_ALL = Amount(100, percent=True, written=REST)


@dataclass(frozen=True)
class PlannedWave:
    """The nodes of one wave, sorted, and what its rank is called (`role=db`; empty without ranks)."""

    nodes: tuple[str, ...]
    rank: str = ""


@dataclass(frozen=True)
class Order:
    """Ranks by the value of `fact`: in the order of `first`, then all others; without `first`, sorted by value."""

    fact: str
    first: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the order as it is written: `role=db,app`."""
        return f"{self.fact}={','.join(self.first)}" if self.first else self.fact


def read_order(option: str, value: Order | str) -> Order:
    """Read `FACT` or `FACT=VALUE,VALUE`; raise UsageError, naming `option`, for an invalid value."""
    if isinstance(value, Order):
        return value
    fact, equals, listed = str(value).partition("=")
    first = tuple(listed.split(",")) if equals else ()
    if not fact or "" in first or len(set(first)) < len(first):
        raise UsageError(f"{option} '{value}': must be a fact, or a fact and its values in order, such as role=db,web")
    return Order(fact, first)


def read_sizes(option: str, value: str | Iterable[Any]) -> tuple[Amount, ...]:
    """Read the sizes of waves: `1,5,10%,rest`, or a list of them; `rest` is last. Raise UsageError."""
    sizes = value.split(",") if isinstance(value, str) else list(value)
    if REST in sizes[:-1]:
        raise UsageError(f"{option} '{value}': no wave can follow 'rest'")
    if not sizes:
        raise UsageError(f"{option}: must have at least one size, such as 1,10%,rest")
    return tuple(_ALL if size == REST else read_amount(option, size) for size in sizes)


def plan_waves(
    nodes: Collection[str], sizes: Sequence[Amount], order: Order | None, facts: Facts
) -> tuple[PlannedWave, ...]:
    """Return the waves of a rollout, in their order; every node is in exactly one."""
    ranks = _ranks(nodes, order, facts) if order else {"": sorted(nodes)}
    return tuple(
        PlannedWave(part, rank) for rank, members in ranks.items() for part in _parts(members, sizes or [_ALL])
    )


def _ranks(nodes: Collection[str], order: Order, facts: Facts) -> Mapping[str, list[str]]:
    """Return the nodes of each rank, sorted, by the name of the rank."""
    by_value: dict[str, list[str]] = {}
    for node in sorted(nodes):
        found = values(facts.get(node, {}), order.fact)
        listed = [value for value in order.first if value in found]
        by_value.setdefault(listed[0] if listed else "" if order.first else found[0], []).append(node)
    if order.first:
        names = {**{value: f"{order.fact}={value}" for value in order.first}, "": f"other {order.fact}"}
        return {name: by_value[value] for value, name in names.items() if value in by_value}
    return {f"{order.fact}={value}": by_value[value] for value in sorted(by_value, key=_natural)}


def _natural(value: str) -> tuple[Any, ...]:
    """Return a key that sorts numbers by value, then strings in version order, then absent values."""
    from collective.filters.ordering import number, version_key  # only here: a help page needs no filters

    exact = number(value)
    if value == ABSENT:
        return (2,)
    return (1, version_key(value), value) if exact is None else (0, exact, value)


def _parts(nodes: Sequence[str], sizes: Sequence[Amount]) -> Iterator[tuple[str, ...]]:
    begin, wave = 0, 0
    while begin < len(nodes):
        end = begin + sizes[min(wave, len(sizes) - 1)].ceil(len(nodes))
        yield tuple(nodes[begin:end])
        begin, wave = end, wave + 1
