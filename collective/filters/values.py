"""A filter as values, and as the data that travels.

    Filter ── facts       FactTest …      all must hold
           ├─ classes     name | /regex/  all
           ├─ agents      name | /regex/  all
           ├─ identities  name | /regex/  any
           └─ select      AllOf | AnyOf | Not | FactTest | ClassTest | DataTest

On the wire a tree is nested mappings, each with the keys of exactly one kind:

    {"and": [tree, tree, …]}  {"or": [tree, tree, …]}  {"not": tree}  {"class": name}
    {"fact": path, "operator": op, "value": text}
    {"function": name, "query": text, "field": name, "operator": op, "value": text}

Operators are `==`, `!=`, `=~`, `<`, `<=`, `>`, `>=`. The value of `=~` is a regular expression, its slashes
optional; `!=` takes one between slashes; all other values are text. Data comes from the network: a kind, key
or type that is not known is refused, because a filter understood only in part reaches the wrong nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from collective.errors import MessageError
from collective.filters import checks, patterns

MAX_DEPTH = 50  # levels of a select tree
MAX_TESTS = 500  # tests in a filter; literal identities do not count


@dataclass(frozen=True)
class FactTest:
    """Compare the fact at `fact`, a dotted path, with the text `value`."""

    fact: str
    operator: str
    value: str

    def to_data(self) -> dict[str, Any]:
        """Return the test as the wire has it."""
        return {"fact": self.fact, "operator": self.operator, "value": self.value}


@dataclass(frozen=True)
class ClassTest:
    """Ask for a class by name or `/regex/`."""

    name: str

    def to_data(self) -> dict[str, Any]:
        """Return the test as the wire has it."""
        return {"class": self.name}


@dataclass(frozen=True)
class DataTest:
    """Compare one field of what a data function answers to `query` with the text `value`."""

    function: str
    query: str
    field: str
    operator: str
    value: str

    def to_data(self) -> dict[str, Any]:
        """Return the test as the wire has it."""
        return {
            "function": self.function,
            "query": self.query,
            "field": self.field,
            "operator": self.operator,
            "value": self.value,
        }


@dataclass(frozen=True)
class AllOf:
    """Hold when all `parts`, two or more, hold."""

    parts: tuple[Select, ...]

    def to_data(self) -> dict[str, Any]:
        """Return the tree as the wire has it."""
        return {"and": [part.to_data() for part in self.parts]}


@dataclass(frozen=True)
class AnyOf:
    """Hold when one of `parts`, two or more, holds."""

    parts: tuple[Select, ...]

    def to_data(self) -> dict[str, Any]:
        """Return the tree as the wire has it."""
        return {"or": [part.to_data() for part in self.parts]}


@dataclass(frozen=True)
class Not:
    """Hold when `part` does not."""

    part: Select

    def to_data(self) -> dict[str, Any]:
        """Return the tree as the wire has it."""
        return {"not": self.part.to_data()}


Select = AllOf | AnyOf | Not | FactTest | ClassTest | DataTest


@dataclass(frozen=True)
class Filter:
    """Which nodes are meant: every kind of test that is given must hold."""

    facts: tuple[FactTest, ...] = ()
    classes: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()
    select: Select | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing is asked for, so that every node matches."""
        return self == Filter()

    @cached_property
    def literal_identities(self) -> frozenset[str]:
        """The identities that are names."""
        return frozenset(name for name in self.identities if not patterns.is_pattern(name))

    @cached_property
    def identity_patterns(self) -> tuple[str, ...]:
        """The identities that are regular expressions, slashes included."""
        return tuple(name for name in self.identities if patterns.is_pattern(name))

    def to_data(self) -> dict[str, Any]:
        """Return the filter as the wire has it."""
        return {
            "facts": [test.to_data() for test in self.facts],
            "classes": list(self.classes),
            "agents": list(self.agents),
            "identities": list(self.identities),
            "select": None if self.select is None else self.select.to_data(),
        }

    @classmethod
    def from_data(cls, data: Any) -> Filter:
        """Read a filter from what travelled; raise MessageError, saying why, for anything that is none."""
        try:
            _check_keys(data, {"facts", "classes", "agents", "identities", "select"})
            select = data.get("select")
            read = cls(
                facts=tuple(_fact(entry) for entry in _list(data, "facts")),
                classes=_texts(data, "classes", checks.check_name),
                agents=_texts(data, "agents", checks.check_name),
                identities=tuple(dict.fromkeys(_texts(data, "identities", checks.check_identity))),
                select=None if select is None else _tree(select, MAX_DEPTH),
            )
            check_size(read)
        except ValueError as error:
            raise MessageError(f"filter: {str(error)[:300]}") from None
        return read


def check_size(asked: Filter) -> None:
    """Check that a filter has no more tests, and no more levels, than a node will look at."""
    tests = len(asked.facts) + len(asked.classes) + len(asked.agents) + len(asked.identity_patterns)
    level = [] if asked.select is None else [asked.select]
    depth = 0
    while level:
        depth += 1
        tests += sum(not parts_of(tree) for tree in level)
        level = [part for tree in level for part in parts_of(tree)]
    if tests > MAX_TESTS:
        raise ValueError(f"{tests} tests: {MAX_TESTS} at most")
    if depth > MAX_DEPTH:
        raise ValueError(f"select is nested {depth} levels deep: {MAX_DEPTH} at most")


def parts_of(tree: Select) -> tuple[Select, ...]:
    """Return what a tree combines; nothing for a single test."""
    if isinstance(tree, (AllOf, AnyOf)):
        return tree.parts
    return (tree.part,) if isinstance(tree, Not) else ()


# -- reading what travelled


def _tree(data: Any, levels: int) -> Select:
    if levels == 0:
        raise ValueError(f"select is nested more than {MAX_DEPTH} levels deep")
    if not isinstance(data, Mapping):
        raise ValueError(f"select holds {type(data).__name__} where a test must be")
    if "and" in data or "or" in data:
        return _combined(data, levels)
    if "not" in data:
        _check_keys(data, {"not"})
        return Not(_tree(data["not"], levels - 1))
    if "class" in data:
        _check_keys(data, {"class"})
        name = _text(data, "class")
        checks.check_name(name)
        return ClassTest(name)
    return _data_test(data) if "function" in data else _fact(data)


def _combined(data: Mapping[str, Any], levels: int) -> AllOf | AnyOf:
    key = "and" if "and" in data else "or"
    _check_keys(data, {key})
    parts = tuple(_tree(part, levels - 1) for part in _list(data, key))
    if len(parts) < 2:
        raise ValueError(f"'{key}' combines two tests or more, not {len(parts)}")
    return AllOf(parts) if key == "and" else AnyOf(parts)


def _fact(data: Any) -> FactTest:
    fields = ("fact", "operator", "value")
    _check_keys(data, set(fields))
    fact, operator, value = (_text(data, key) for key in fields)
    checks.check_fact(fact, operator, value)
    return FactTest(fact, operator, value)


def _data_test(data: Mapping[str, Any]) -> DataTest:
    fields = ("function", "query", "field", "operator", "value")
    _check_keys(data, set(fields))
    function, query, field, operator, value = (_text(data, key) for key in fields)
    checks.check_data(function, field, operator, value)
    return DataTest(function, query, field, operator, value)


def _check_keys(data: Any, known: set[str]) -> None:
    if not isinstance(data, Mapping):
        raise ValueError(f"{type(data).__name__} where a mapping of {', '.join(sorted(known))} must be")
    for key in data:
        if key not in known:
            raise ValueError(f"{str(key)[:100]!r} is not among {', '.join(sorted(known))}")


def _list(data: Mapping[str, Any], key: str) -> list[Any]:
    value = data.get(key, [])
    if not isinstance(value, list):
        raise ValueError(f"{key} must be a list, not {type(value).__name__}")
    return value


def _texts(data: Mapping[str, Any], key: str, check: Callable[[str], None]) -> tuple[str, ...]:
    entries = _list(data, key)
    for entry in entries:
        if not isinstance(entry, str):
            raise ValueError(f"{key} holds {type(entry).__name__} where a text must be")
        check(entry)
    return tuple(entries)


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    if not isinstance(value, str):
        raise ValueError(f"{key} must be a text, not {'missing' if key not in data else type(value).__name__}")
    return value
