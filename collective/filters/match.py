"""Match filters against nodes.

How a fact is compared with a value:

* A missing fact and null match nothing, not even with `!=`; `not fact=value` matches then.
* A list matches if any of its elements does, a mapping if any of its keys does.
* `<` `<=` `>` `>=`: see ordering.py.
* `==` `!=`: as numbers if the fact is a JSON number and the value is a number (4.0 equals `4`). A string is compared
  as a string even if it looks like a number: version 1.10 is not version 1.1.
* Strings are case-sensitive. Other values have their JSON form (`true`, `16.5`).

No content of a node's facts makes matching raise an error.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Protocol

from collective.filters import patterns
from collective.filters.checks import expression_of
from collective.filters.ordering import ORDER, number, ordered
from collective.filters.paths import look_up
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


class Node(Protocol):
    """What filters match against: a node itself, or its record in the registry."""

    @property
    def identity(self) -> str:
        """The node's identity."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """The node's facts by name; values are JSON values."""

    @property
    def classes(self) -> Collection[str]:
        """The names of the node's configuration classes."""

    @property
    def agents(self) -> Collection[str]:
        """The names of the node's agents."""


def no_data(_function: str, _query: str) -> None:
    """Take the place of data functions where a filter cannot have any, or only nodes can run them."""


def matches(filter_: Filter, node: Node, data_function: DataFunction, budget: Budget | None = None) -> bool:
    """Return whether `node` matches `filter_`.

    `data_function(name, query)` returns a mapping of fields, or None if the node has no such function. It is called
    once for each query, after the cheaper tests, and must not raise. A function or field that the node does not have
    makes the whole filter false. So do regular expressions that take longer than `budget` (0.25 s by default), which
    is logged as `filter.timeout`. To match many nodes, pass one budget for all and check `budget.spent` at the end.
    """
    matcher = _Matcher(node, budget or Budget())
    try:
        return matcher.matches(filter_) and matcher.selects(filter_, data_function)
    except OutOfTime:
        logger.warning("filter.timeout", extra={"identity": node.identity, "seconds": matcher.budget.seconds})
        return False


def uses_data(filter_: Filter) -> list[tuple[str, str]]:
    """Return the (function, query) pairs in a filter, without duplicates; only nodes can evaluate these."""
    tests = (test for test in leaves(filter_) if isinstance(test, DataTest))
    return list(dict.fromkeys((test.function, test.query) for test in tests))


def leaves(filter_: Filter) -> Iterator[FactTest | ClassTest | DataTest]:
    """Yield the tests in a filter's select tree from left to right."""
    pending: list[Select] = [] if filter_.select is None else [filter_.select]
    while pending:
        tree = pending.pop()
        if isinstance(tree, (FactTest, ClassTest, DataTest)):
            yield tree
        pending.extend(reversed(parts_of(tree)))


class _Matcher:
    """Matches one node, within one budget."""

    def __init__(self, node: Node, budget: Budget) -> None:
        self.node = node
        self.budget = budget

    def matches(self, filter_: Filter) -> bool:
        # Loops, because this runs for each of 100,000 records: `all` with a generator takes longer than a test.
        if filter_.identities and not self._identity(filter_):
            return False
        for test in filter_.facts:
            if not self._fact(test):
                return False
        for name in filter_.classes:
            if not self._named(name, self.node.classes):
                return False
        return all(self._named(name, self.node.agents) for name in filter_.agents) if filter_.agents else True

    def selects(self, filter_: Filter, data_function: DataFunction) -> bool:
        if filter_.select is None:
            return True
        answers = {question: data_function(*question) or {} for question in uses_data(filter_)}
        for test in leaves(filter_):
            if isinstance(test, DataTest) and test.field not in answers[test.function, test.query]:
                return False
        return self._holds(filter_.select, answers)

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

    def _identity(self, filter_: Filter) -> bool:
        if self.node.identity in filter_.literal_identities:
            return True
        return any(self._named(pattern, (self.node.identity,)) for pattern in filter_.identity_patterns)

    def _named(self, name: str, candidates: Collection[str]) -> bool:
        if not patterns.is_pattern(name):
            return name in candidates
        expression = patterns.bare(name)
        return any(self.budget.search(expression, entry) for entry in candidates)

    def _fact(self, test: FactTest) -> bool:
        return self._compare(look_up(self.node.facts, test.fact), test.operator, test.value)

    def _compare(self, found: Any, operator: str, value: str) -> bool:
        if isinstance(found, str):
            return self._holds_for(found, operator, value)
        return any(self._holds_for(element, operator, value) for element in _elements(found))

    def _holds_for(self, element: Any, operator: str, value: str) -> bool:
        expression = expression_of(operator, value)
        if expression is not None:
            return self.budget.search(expression, _string(element)) != (operator == "!=")
        if operator in ORDER:
            return ordered(element, operator, value)
        return _same(element, value) == (operator == "==")


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
        left, right = number(element), number(value)
        if left is not None and right is not None:
            return left == right
    return _string(element) == value


def _string(element: Any) -> str:
    if isinstance(element, str):
        return element
    if isinstance(element, int) and not isinstance(element, bool):
        return str(Decimal(element))  # str() refuses integers of more than 4,300 digits
    return json.dumps(element) if isinstance(element, (bool, float)) else str(element)
