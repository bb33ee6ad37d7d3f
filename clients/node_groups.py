"""The groups of client.yaml, for `-I @web-prod`: filters, names, and programs that name nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from collective.clients.group_programs import run_program
from collective.errors import UsageError
from collective.filters import Filter, parse
from collective.filters.patterns import is_pattern
from collective.fleet.node_sets import ListedNodes, MatchingNodes, NodeSet, read_expression, union

if TYPE_CHECKING:
    from collective.config import ClientConfig


def read(texts: Sequence[str], config: ClientConfig, where: str = "-I") -> NodeSet:
    """Return the union of the values of `-I`: names, expressions with groups, and regular expressions.

    `where` precedes errors. Raises UsageError for a wrong expression, and ConfigError for a program that fails.
    """
    groups = _Groups(config)
    return union([_read(text, groups, where) for text in texts])


def names(texts: Sequence[str], config: ClientConfig, where: str) -> list[str]:
    """Return the names of nodes that need not exist yet, in order; raise UsageError for a group that is a filter."""
    groups = _Groups(config)
    found: dict[str, None] = {}
    for text in texts:
        found.update(dict.fromkeys(_listed(read_expression(text, groups, where), f"{where} '{text}'")))
    return list(found)


def _listed(wanted: NodeSet, where: str) -> tuple[str, ...]:
    if isinstance(wanted, ListedNodes):
        return wanted.names
    if isinstance(wanted, MatchingNodes):
        raise UsageError(f"{where}: a group with a filter has no names (use a group with nodes or a command)")
    left, right = _listed(wanted.left, where), _listed(wanted.right, where)
    if wanted.operator == ",":
        return (*left, *right)
    excluded = wanted.operator == "!"
    return tuple(name for name in left if (name in right) != excluded)


def _read(text: str, groups: _Groups, where: str) -> NodeSet:
    return MatchingNodes(parse(with_identity=[text])) if is_pattern(text) else read_expression(text, groups, where)


class _Groups(Mapping[str, "Filter | tuple[str, ...] | list[str]"]):
    """The groups of a configuration; a program is run when its group is used, and once."""

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self._names: dict[str, tuple[str, ...]] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._config.groups)

    def __len__(self) -> int:
        return len(self._config.groups)

    def __getitem__(self, name: str) -> Filter | tuple[str, ...] | list[str]:
        [(kind, value)] = self._config.groups[name].items()
        if kind == "nodes":
            return [value] if isinstance(value, str) else value
        if kind == "filter":
            return _filter(name, value)
        if name not in self._names:
            self._names[name] = run_program(kind, name, value, self._config.collective)
        return self._names[name]


def _filter(name: str, text: str) -> Filter:
    try:
        return parse(select=text)
    except UsageError as error:
        raise UsageError(f"groups.{name}.filter: {str(error).removeprefix('-S ')}") from None
