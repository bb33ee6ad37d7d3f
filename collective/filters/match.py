"""Decide whether a node is one that a filter means.

What a fact is compared by:

* A missing fact, and null, match nothing, `!=` included; `not fact=value` does match then.
* A list matches when any of its elements does, a mapping when any of its keys does; what is nested deeper is
  reached by a path. A top-level fact whose name holds the dots wins over the path.
* `<` `<=` `>` `>=`: as numbers when both sides read as decimal numbers (`-2`, `16.5`), text or not; else as text.
* `==` `!=`: as numbers when the fact is a number in JSON and the value reads as one (4.0 is `4`). Text is
  compared as text, although it may look like a number: version 1.10 is not version 1.1.
* Texts are compared by code point and case. A JSON number or boolean has its JSON text (`true`, `16.5`).

Nothing that a node's facts hold makes this raise.
"""

from __future__ import annotations

import json
import logging
import operator as operators
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Protocol

from collective.filters import patterns
from collective.filters.checks import expression_of
from collective.filters.patterns import Budget, OutOfTime
from collective.filters.values import (
    AllOf,
    AnyOf,
    ClassTest,
    DataTest,
    FactTest,
    Filter,
    Not,
    Select,
    parts_of,
)

DataFunction = Callable[[str, str], "Mapping[str, Any] | None"]
Answers = Mapping["tuple[str, str]", "Mapping[str, Any]"]

logger = logging.getLogger(__name__)

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_INDEX = re.compile(r"[0-9]{1,9}")
_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operators.lt,
    "<=": operators.le,
    ">": operators.gt,
    ">=": operators.ge,
}


class Node(Protocol):
    """What a filter looks at: a node itself, or what a registry knows about one."""

    @property
    def identity(self) -> str:
        """The node's name."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Facts by name, nested as JSON is."""

    @property
    def classes(self) -> Collection[str]:
        """The names of the node's configuration classes."""

    @property
    def agents(self) -> Collection[str]:
        """The names of the node's agents."""


def matches(asked: Filter, node: Node, data_function: DataFunction, budget: Budget | None = None) -> bool:
    """Tell whether `node` is one that `asked` means.

    `data_function(name, query)` answers with a mapping of fields, or None when the node has no such function.
    It is asked once for each question, after the cheaper tests, and must not raise. A function or field that
    the node does not have makes the whole filter false. So do regular expressions that take longer than
    `budget` (by default 0.25 s for the node), which is logged as `filter.timeout`; a caller that looks at
    many nodes shares one budget among them and asks it afterwards.
    """
    looking = _Looking(node, budget or Budget())
    try:
        return looking.matches(asked) and looking.selects(asked, data_function)
    except OutOfTime:
        logger.warning("filter.timeout", extra={"identity": node.identity, "seconds": looking.budget.seconds})
        return False


def uses_data(asked: Filter) -> list[tuple[str, str]]:
    """Return the (function, query) pairs that `asked` needs the nodes themselves for, each once."""
    tests = (test for test in leaves(asked) if isinstance(test, DataTest))
    return list(dict.fromkeys((test.function, test.query) for test in tests))


def leaves(asked: Filter) -> Iterator[FactTest | ClassTest | DataTest]:
    """Yield the single tests of a filter's select tree, from left to right."""
    pending: list[Select] = [] if asked.select is None else [asked.select]
    while pending:
        tree = pending.pop()
        if isinstance(tree, (FactTest, ClassTest, DataTest)):
            yield tree
        pending.extend(reversed(parts_of(tree)))


class _Looking:
    """One look at one node."""

    def __init__(self, node: Node, budget: Budget) -> None:
        self.node = node
        self.budget = budget

    def matches(self, asked: Filter) -> bool:
        return (
            self._identity(asked)
            and all(self._fact(test) for test in asked.facts)
            and all(self._named(name, self.node.classes) for name in asked.classes)
            and all(self._named(name, self.node.agents) for name in asked.agents)
        )

    def selects(self, asked: Filter, data_function: DataFunction) -> bool:
        if asked.select is None:
            return True
        answers = {question: data_function(*question) or {} for question in uses_data(asked)}
        for test in leaves(asked):
            if isinstance(test, DataTest) and test.field not in answers[test.function, test.query]:
                return False
        return self._holds(asked.select, answers)

    def _holds(self, tree: Select, answers: Answers) -> bool:
        if isinstance(tree, AllOf):
            return all(self._holds(part, answers) for part in tree.parts)
        if isinstance(tree, AnyOf):
            return any(self._holds(part, answers) for part in tree.parts)
        if isinstance(tree, Not):
            return not self._holds(tree.part, answers)
        if isinstance(tree, ClassTest):
            return self._named(tree.name, self.node.classes)
        if isinstance(tree, FactTest):
            return self._fact(tree)
        answer = answers[tree.function, tree.query]
        return self._compare(answer[tree.field], tree.operator, tree.value)

    def _identity(self, asked: Filter) -> bool:
        if not asked.identities or self.node.identity in asked.literal_identities:
            return True
        return any(self._named(pattern, (self.node.identity,)) for pattern in asked.identity_patterns)

    def _named(self, name: str, there: Collection[str]) -> bool:
        if not patterns.is_pattern(name):
            return name in there
        expression = patterns.bare(name)
        return any(self.budget.search(expression, entry) for entry in there)

    def _fact(self, test: FactTest) -> bool:
        return self._compare(look_up(self.node.facts, test.fact), test.operator, test.value)

    def _compare(self, found: Any, operator: str, value: str) -> bool:
        return any(self._holds_for(element, operator, value) for element in _elements(found))

    def _holds_for(self, element: Any, operator: str, value: str) -> bool:
        expression = expression_of(operator, value)
        if expression is not None:
            return self.budget.search(expression, _text(element)) != (operator == "!=")
        if operator in _ORDER:
            return _ordered(element, operator, value)
        return _same(element, value) == (operator == "==")


def look_up(facts: Mapping[str, Any], path: str) -> Any:
    """Return the fact at a dotted path; None when there is none. Steps into lists are numbers, from 0."""
    if path in facts:
        return facts[path]
    found: Any = facts
    for step in path.split("."):
        if isinstance(found, Mapping):
            found = found.get(step)
        elif isinstance(found, (list, tuple)) and _INDEX.fullmatch(step) and int(step) < len(found):
            found = found[int(step)]
        else:
            return None
    return found


def _elements(found: Any) -> Iterable[Any]:
    if found is None:
        return ()
    if isinstance(found, Mapping):
        return found.keys()
    if isinstance(found, (list, tuple)):
        return [element for element in found if not isinstance(element, (Mapping, list, tuple, type(None)))]
    return (found,)


def _same(element: Any, value: str) -> bool:
    if not isinstance(element, str):
        left, right = _number(element), _number(value)
        if left is not None and right is not None:
            return left == right
    return _text(element) == value


def _ordered(element: Any, operator: str, value: str) -> bool:
    left, right = _number(element), _number(value)
    if left is None or right is None:
        return _ORDER[operator](_text(element), value)
    return _ORDER[operator](left, right)


def _number(value: Any) -> Decimal | None:
    """Return the number that `value` is or reads as, exactly; None for anything else."""
    if isinstance(value, str):
        return Decimal(value) if _NUMBER.fullmatch(value) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    number = Decimal(value) if isinstance(value, int) else Decimal(repr(value))
    return number if number.is_finite() else None


def _text(element: Any) -> str:
    if isinstance(element, str):
        return element
    if isinstance(element, int) and not isinstance(element, bool):
        return str(Decimal(element))  # Python refuses to write out integers of more than 4,300 digits
    return json.dumps(element) if isinstance(element, (bool, float)) else str(element)
