"""Select the nodes of `Targets`: evaluate names, groups, set expressions, filters and limits in that order."""

from __future__ import annotations

from dataclasses import replace

from collective.catalog import Catalog
from collective.errors import NoNodes
from collective.filters import Filter
from collective.fleet.discovery import Discovery
from collective.fleet.node_finder import NodeFinder
from collective.fleet.node_sets import ListedNodes, MatchingNodes, NodeSet
from collective.fleet.targets import Targets


class TargetSelector:
    """Selects nodes that `finder` finds. With `expect_all`, nodes that cannot be asked may be the only ones."""

    def __init__(self, catalog: Catalog, finder: NodeFinder, *, expect_all: bool) -> None:
        self._catalog = catalog
        self._finder = finder
        self._expect_all = expect_all

    def select(self, targets: Targets, agent: str, *, verify: bool = False, certain: bool = False) -> Discovery:
        """Return the nodes that `targets` selects; raise NoNodes when there are none, and none that may be missing.

        `verify`: names are looked up as well. `certain`: an unreadable registry is an error, because a broadcast
        instead may miss nodes.
        """
        self._catalog.check_filter(targets.filter)
        if targets.nodes == ():
            raise NoNodes("the list of nodes is empty")
        if targets.sets is not None:
            found = self._of_sets(targets.sets, targets, agent, certain)
            return self._narrowed(found, targets, agent, verify=verify, certain=certain)
        names_only = None if verify else targets.only_names
        if names_only is None:
            found = self._finder.matching(targets, agent, certain=certain)
            if targets.nodes is not None:
                found = found.among(targets.nodes)
        else:
            found = self._finder.named(names_only)
        return self._limited(found, targets)

    def _of_sets(self, sets: NodeSet, targets: Targets, agent: str, certain: bool) -> Discovery:
        """Return the nodes of a set expression, after evaluating the filters of its groups."""
        if isinstance(sets, ListedNodes):
            return self._finder.named(sorted(sets.names))
        if isinstance(sets, MatchingNodes):
            self._catalog.check_filter(sets.filter)
            method, seconds = targets.method, targets.discovery_timeout
            return self._finder.matching(Targets(sets.filter, None, method, seconds), agent, certain=certain)
        left = self._of_sets(sets.left, targets, agent, certain)
        return combined(sets.operator, left, self._of_sets(sets.right, targets, agent, certain))

    def _narrowed(self, found: Discovery, targets: Targets, agent: str, *, verify: bool, certain: bool) -> Discovery:
        """Return the nodes of `found` that match the other parts of `targets` as well."""
        if targets.nodes is not None:
            found = found.among(targets.nodes)
        members = (*found.nodes, *found.not_asked)
        if members and (verify or targets.filter != Filter()):
            rest = replace(targets, nodes=members, sets=None, limit=None, limit_seed=None)
            matching = self._finder.matching(rest, agent, certain=certain).among(members)
            found = replace(
                matching,
                not_evaluated={**found.not_evaluated, **matching.not_evaluated},
                silent=tuple(sorted({*found.silent, *matching.silent})),
                request_ids=(*found.request_ids, *matching.request_ids),
            )
        return self._limited(found, targets)

    def _limited(self, found: Discovery, targets: Targets) -> Discovery:
        """Return `found` after applying the limit; raise NoNodes when it has no nodes, and none may be missing."""
        missing = found.not_evaluated or found.silent or (self._expect_all and found.not_asked)
        if not found.nodes and not missing:
            raise NoNodes("; ".join([found.why_none, *found.incomplete()]))
        return replace(found, nodes=tuple(targets.sample(found.nodes)))


def combined(operator: str, left: Discovery, right: Discovery) -> Discovery:
    """Return what two sides have together; a node that either side may be missing is never dropped silently."""
    first, second = set(left.nodes), set(right.nodes)
    unsure_left, unsure_right = _unsure(left), _unsure(right)
    if operator == ",":
        nodes = first | second
        unsure = (unsure_left | unsure_right) - nodes
    elif operator == "&":
        nodes = first & second
        unsure = (unsure_left & (unsure_right | second)) | (unsure_right & first)
    else:
        nodes = first - second - unsure_right
        unsure = unsure_left - second | unsure_right & first
    reasons = {**right.not_asked, **left.not_asked}
    failures = {**right.not_evaluated, **left.not_evaluated}
    return replace(
        left,
        nodes=tuple(sorted(nodes)),
        not_asked={name: reason for name, reason in reasons.items() if name in unsure},
        not_evaluated={name: reason for name, reason in failures.items() if name in unsure},
        silent=tuple(sorted(unsure - reasons.keys() - failures.keys())),
        why_none="no node is in the set",
        request_ids=(*left.request_ids, *right.request_ids),
    )


def _unsure(found: Discovery) -> set[str]:
    """Return the nodes of which it is not known whether they belong to a side, or that cannot be asked."""
    return {*found.not_asked, *found.not_evaluated, *found.silent}
