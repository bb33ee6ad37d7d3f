"""Filters as values and as data on the wire.

    Filter ── facts       FactTest …      all must match
           ├─ classes     name | /regex/  all
           ├─ agents      name | /regex/  all
           ├─ identities  name | /regex/  any
           └─ select      AllOf | AnyOf | Not | FactTest | ClassTest | DataTest

On the wire a tree is nested mappings, each with exactly the keys of one kind:

    {"and": [tree, tree, …]}  {"or": [tree, tree, …]}  {"not": tree}  {"class": name}
    {"fact": path, "operator": op, "value": string}
    {"function": name, "query": string, "field": name, "operator": op, "value": string}

Operators are `==`, `!=`, `=~`, `<`, `<=`, `>`, `>=`. The value of `=~` is a regular expression with or without slashes,
that of `!=` can be one between slashes; all other values are plain strings. Unknown kinds, keys and types are
rejected, because a filter that is only partly understood would match the wrong nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from collective.errors import MessageError
from collective.filters import checks, patterns

MAX_DEPTH = 50  # levels of a select tree
MAX_TESTS = 500  # tests of a filter, without literal identities


@dataclass(frozen=True)
class FactTest:
    """Compare the fact at the dotted path `fact` with `value`."""

    fact: str
    operator: str
    value: str

    def to_data(self) -> dict[str, Any]:
        """Return the test as data for the wire."""
        return {"fact": self.fact, "operator": self.operator, "value": self.value}


@dataclass(frozen=True)
class ClassTest:
    """Match a class by name or `/regex/`."""

    name: str

    def to_data(self) -> dict[str, Any]:
        """Return the test as data for the wire."""
        return {"class": self.name}


@dataclass(frozen=True)
class DataTest:
    """Compare a field of a data function's result for `query` with `value`."""

    function: str
    query: str
    field: str
    operator: str
    value: str

    def to_data(self) -> dict[str, Any]:
        """Return the test as data for the wire."""
        return {
            "function": self.function,
            "query": self.query,
            "field": self.field,
            "operator": self.operator,
            "value": self.value,
        }


@dataclass(frozen=True)
class AllOf:
    """Match if all `parts` (at least two) match."""

    parts: tuple[Select, ...]

    def to_data(self) -> dict[str, Any]:
        """Return the tree as data for the wire."""
        return {"and": [part.to_data() for part in self.parts]}


@dataclass(frozen=True)
class AnyOf:
    """Match if any of `parts` (at least two) matches."""

    parts: tuple[Select, ...]

    def to_data(self) -> dict[str, Any]:
        """Return the tree as data for the wire."""
        return {"or": [part.to_data() for part in self.parts]}


@dataclass(frozen=True)
class Not:
    """Match if `part` does not match."""

    part: Select

    def to_data(self) -> dict[str, Any]:
        """Return the tree as data for the wire."""
        return {"not": self.part.to_data()}


Select = AllOf | AnyOf | Not | FactTest | ClassTest | DataTest


@dataclass(frozen=True)
class Filter:
    """Selects nodes: every kind of test that is given must match."""

    facts: tuple[FactTest, ...] = ()
    classes: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()
    select: Select | None = None

    @property
    def empty(self) -> bool:
        """Whether the filter has no tests, so that every node matches."""
        return self == Filter()

    @cached_property
    def literal_identities(self) -> frozenset[str]:
        """The identities that are plain names."""
        return frozenset(name for name in self.identities if not patterns.is_pattern(name))

    @cached_property
    def identity_patterns(self) -> tuple[str, ...]:
        """The identities that are regular expressions, with their slashes."""
        return tuple(name for name in self.identities if patterns.is_pattern(name))

    def to_data(self) -> dict[str, Any]:
        """Return the filter as data for the wire."""
        return {
            "facts": [test.to_data() for test in self.facts],
            "classes": list(self.classes),
            "agents": list(self.agents),
            "identities": list(self.identities),
            "select": None if self.select is None else self.select.to_data(),
        }

    @classmethod
    def from_data(cls, data: Any) -> Filter:
        """Decode a filter from the wire; raise MessageError with the reason if it is invalid."""
        try:
            _check_keys(data, {"facts", "classes", "agents", "identities", "select"})
            select = data.get("select")
            decoded = cls(
                facts=tuple(_fact(entry) for entry in _list(data, "facts")),
                classes=_strings(data, "classes", checks.check_name),
                agents=_strings(data, "agents", checks.check_name),
                identities=tuple(dict.fromkeys(_strings(data, "identities", checks.check_identity))),
                select=None if select is None else _tree(select, MAX_DEPTH),
            )
            check_size(decoded)
        except ValueError as error:
            raise MessageError(f"filter: {str(error)[:300]}") from None
        return decoded


def check_size(filter_: Filter) -> None:
    """Raise ValueError if a filter has too many tests or levels."""
    tests = len(filter_.facts) + len(filter_.classes) + len(filter_.agents) + len(filter_.identity_patterns)
    level = [] if filter_.select is None else [filter_.select]
    depth = 0
    while level:
        depth += 1
        tests += sum(not parts_of(tree) for tree in level)
        level = [part for tree in level for part in parts_of(tree)]
    if tests > MAX_TESTS:
        raise ValueError(f"{tests} tests, at most {MAX_TESTS} are allowed")
    if depth > MAX_DEPTH:
        raise ValueError(f"select is nested {depth} levels deep, at most {MAX_DEPTH} are allowed")


def parts_of(tree: Select) -> tuple[Select, ...]:
    """Return the parts of a tree; an empty tuple for a single test."""
    if isinstance(tree, (AllOf, AnyOf)):
        return tree.parts
    return (tree.part,) if isinstance(tree, Not) else ()


# -- decoding


def _tree(data: Any, levels: int) -> Select:
    if levels == 0:
        raise ValueError(f"select is nested more than {MAX_DEPTH} levels deep")
    if not isinstance(data, Mapping):
        raise ValueError(f"select: each test must be a mapping, not {type(data).__name__}")
    if "and" in data or "or" in data:
        return _combined(data, levels)
    if "not" in data:
        _check_keys(data, {"not"})
        return Not(_tree(data["not"], levels - 1))
    if "class" in data:
        _check_keys(data, {"class"})
        name = _string(data, "class")
        checks.check_name(name)
        return ClassTest(name)
    return _data_test(data) if "function" in data else _fact(data)


def _combined(data: Mapping[str, Any], levels: int) -> AllOf | AnyOf:
    key = "and" if "and" in data else "or"
    _check_keys(data, {key})
    parts = tuple(_tree(part, levels - 1) for part in _list(data, key))
    if len(parts) < 2:
        raise ValueError(f"'{key}' must have at least two tests, not {len(parts)}")
    return AllOf(parts) if key == "and" else AnyOf(parts)


def _fact(data: Any) -> FactTest:
    fields = ("fact", "operator", "value")
    _check_keys(data, set(fields))
    fact, operator, value = (_string(data, key) for key in fields)
    checks.check_fact(fact, operator, value)
    return FactTest(fact, operator, value)


def _data_test(data: Mapping[str, Any]) -> DataTest:
    fields = ("function", "query", "field", "operator", "value")
    _check_keys(data, set(fields))
    function, query, field, operator, value = (_string(data, key) for key in fields)
    checks.check_data(function, field, operator, value)
    return DataTest(function, query, field, operator, value)


def _check_keys(data: Any, known: set[str]) -> None:
    if not isinstance(data, Mapping):
        raise ValueError(f"must be a mapping with the keys {', '.join(sorted(known))}, not {type(data).__name__}")
    for key in data:
        if key not in known:
            raise ValueError(f"unknown key {str(key)[:100]!r} (keys: {', '.join(sorted(known))})")


def _list(data: Mapping[str, Any], key: str) -> list[Any]:
    value = data.get(key, [])
    if not isinstance(value, list):
        raise ValueError(f"{key} must be a list, not {type(value).__name__}")
    return value


def _strings(data: Mapping[str, Any], key: str, check: Callable[[str], None]) -> tuple[str, ...]:
    entries = _list(data, key)
    for entry in entries:
        if not isinstance(entry, str):
            raise ValueError(f"{key} must be a list of strings, not of {type(entry).__name__}")
        check(entry)
    return tuple(entries)


def _string(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    if not isinstance(value, str):
        kind = type(value).__name__
        raise ValueError(f"{key} must be a string, not {kind}" if key in data else f"{key} is missing")
    return value
