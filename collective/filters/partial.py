"""Match a filter against a node of which not everything is known: it matches, it does not, or the node must decide.

The registry does not know the output of data functions, nor entries of a record that were too large for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from collective.filters.match import Node, matches, no_data
from collective.filters.patterns import Budget
from collective.filters.values import AllOf, AnyOf, ClassTest, DataTest, FactTest, Filter, Not, Select

Known = Callable[["FactTest | ClassTest"], bool]


def everything(_test: FactTest | ClassTest) -> bool:
    """Return True: all facts and classes of the node are known."""
    return True


def may_match(filter_: Filter, node: Node, known: Known = everything, budget: Budget | None = None) -> bool:
    """Return whether `node` could match: data functions, and tests that are not `known`, may have any result."""
    return _Partial(node, known, budget or Budget()).may(filter_, True)


def may_differ(filter_: Filter, node: Node, known: Known = everything, budget: Budget | None = None) -> bool:
    """Return whether `node` could fail to match."""
    return _Partial(node, known, budget or Budget()).may(filter_, False)


class _Partial:
    """Evaluates the tests of a filter for one node within one budget."""

    def __init__(self, node: Node, known: Known, budget: Budget) -> None:
        self._node = node
        self._known = known
        self._budget = budget

    def may(self, filter_: Filter, result: bool) -> bool:
        """Return whether the filter could have this result."""
        others = replace(filter_, facts=(), classes=(), select=None)
        tests: list[Select] = [*filter_.facts, *(ClassTest(name) for name in filter_.classes)]
        tests += [] if filter_.select is None else [filter_.select]
        if not self._matches(others):
            return not result
        parts = (self._could(test, result) for test in tests)
        return all(parts) if result else any(parts)

    def _could(self, tree: Select, result: bool) -> bool:
        if isinstance(tree, AllOf | AnyOf):
            parts = (self._could(part, result) for part in tree.parts)
            return all(parts) if isinstance(tree, AllOf) is result else any(parts)
        if isinstance(tree, Not):
            return self._could(tree.part, not result)
        if isinstance(tree, DataTest) or not self._known(tree):
            return True
        return self._matches(Filter(select=tree)) is result

    def _matches(self, filter_: Filter) -> bool:
        return matches(filter_, self._node, no_data, self._budget)
