"""Sets of nodes with operators: `@web-prod!web07.lab`, where `@web-prod` is a group of client.yaml.

    expression = term { operator term }        from left to right, as in ClusterShell
    operator   = ","   nodes of either side
               | "&"   nodes of both sides
               | "!"   nodes of the left side that are not on the right one
    term       = "@" group | names             names as in nodesets: web[01-20].my.net

A group has a filter, or names (an expression, which can use other groups). Filters are evaluated like those of a call:
nodes that may be missing stay in the account of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from collective.errors import UsageError
from collective.filters import Filter
from collective.nodesets import unfold
from collective.suggestions import suggest

OPERATORS = ",&!"
_TERM = re.compile(r"(?:\[[^][]*\]|[^,&!\[\]])+")


@dataclass(frozen=True)
class ListedNodes:
    """Nodes by name."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class MatchingNodes:
    """The nodes that match a filter."""

    filter: Filter


@dataclass(frozen=True)
class CombinedNodes:
    """Two sets and an operator: `,` `&` or `!`."""

    operator: str
    left: NodeSet
    right: NodeSet


NodeSet = ListedNodes | MatchingNodes | CombinedNodes
# The definitions of groups by name: a filter, names (a tuple), or expressions (a list) whose sets are added.
Groups = Mapping[str, "Filter | tuple[str, ...] | list[str]"]


def is_expression(text: str) -> bool:
    """Return whether names have an operator or a group, which a plain list of names has not."""
    return not text.startswith("/") and any(character in text for character in "@&!")


def read_expression(text: str, groups: Groups, where: str = "-I", seen: tuple[str, ...] = ()) -> NodeSet:
    """Return the set that `text` describes; raise UsageError, naming the column, for anything else.

    `seen` are the groups that are being read, so that none contains itself.
    """
    found: NodeSet | None = None
    operator, at = "", 0
    while True:
        term = _TERM.match(text, at)
        if term is None:
            _fail(where, text, at, "missing name or @group")
        part = _read_term(term, groups, where, seen)
        found = part if found is None else CombinedNodes(operator, found, part)
        at = term.end()
        if at == len(text):
            return found
        if text[at] not in OPERATORS:
            _fail(where, text, at, f"unexpected '{text[at]}' (operators: , & !)")
        operator, at = text[at], at + 1


def _read_term(term: re.Match[str], groups: Groups, where: str, seen: tuple[str, ...]) -> NodeSet:
    text = term[0].strip()
    if not text.startswith("@"):
        try:
            return ListedNodes(tuple(unfold(text)))
        except UsageError as error:
            raise UsageError(f"{where} {error}") from None
    name = text[1:]
    if name not in groups:
        known = f"groups of client.yaml: {', '.join(groups)}" if groups else "client.yaml has no groups"
        hint = suggest(text, [f"@{one}" for one in groups], known)
        _fail(where, term.string, term.start(), f"unknown group '@{name}' ({hint})")
    if name in seen:
        _fail(where, term.string, term.start(), f"group '@{name}' contains itself")
    defined = groups[name]
    if isinstance(defined, Filter):
        return MatchingNodes(defined)
    if isinstance(defined, tuple):
        return ListedNodes(defined)
    return union([read_expression(text, groups, f"groups.{name}:", (*seen, name)) for text in defined])


def union(sets: Sequence[NodeSet]) -> NodeSet:
    """Return the nodes of all sets."""
    found = sets[0]
    for other in sets[1:]:
        found = CombinedNodes(",", found, other)
    return found


def _fail(where: str, text: str, position: int, problem: str) -> NoReturn:
    raise UsageError(f"{where} {text!r}: column {position + 1}: {problem}")
