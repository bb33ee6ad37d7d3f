"""Find the nodes of a call before it is sent: from names, from the registry, or by asking the nodes.

    registry ─► candidates ─┬─► matching   the registry decides
                            ├─► undecided  must be asked: a data function, or a fact that the registry does not have
                            └─► not_asked  known, and cannot be asked: stale, revoked, its agent failed to load

A node never disappears silently: every known node that could match is in one of these lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from collective.errors import UsageError
from collective.filters import (
    Budget,
    ClassTest,
    FactTest,
    Filter,
    look_up,
    matches,
    may_differ,
    may_match,
    no_data,
    uses_data,
)
from collective.fleet import silence
from collective.fleet.outcomes import Outcomes
from collective.fleet.targets import Targets
from collective.fleet.unknown_names import unknown_names
from collective.nodesets import fold
from collective.registry import Contents, NodeRecord
from collective.suggestions import suggest
from collective.text import plural

_SEARCH_SECONDS = 2.0  # for the regular expressions of a filter on all nodes together
FILTERED, NOT_EVALUATED = "filtered", "not_evaluated"  # reasons of replies


@dataclass(frozen=True)
class Discovery:
    """The nodes that a call is for, sorted, and the known nodes that may be missing among them.

    `not_asked` are nodes that cannot be asked, `not_evaluated` those that could not evaluate the filter, with the
    reason. `absent` are named nodes that do not exist or have stopped, with the reason. `silent` are nodes that did not
    answer whether they match. `why_none` explains why there are no nodes. `request_ids` are the requests that asked
    nodes. `known` is the number of nodes in the registry, 0 if it was not read.
    """

    nodes: tuple[str, ...] = ()
    not_asked: Mapping[str, str] = field(default_factory=dict)
    not_evaluated: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    silent: tuple[str, ...] = ()
    why_none: str = "no node matches"
    request_ids: tuple[str, ...] = ()
    known: int = 0

    def among(self, nodes: Iterable[str]) -> Discovery:
        """Return this discovery with only the nodes that are in `nodes`."""
        some = set(nodes)
        return replace(self, nodes=tuple(name for name in self.nodes if name in some))

    def incomplete(self) -> list[str]:
        """Return a line for each group of nodes that may be missing among the nodes."""
        lines = [*silence.not_asked_lines(self.not_asked), *silence.not_evaluated_lines(self.not_evaluated)]
        lines += silence.silence_lines(self.absent)
        silent = f"{plural(len(self.silent), 'node')} did not answer whether the filter matches: {fold(self.silent)}"
        return [*lines, silent] if self.silent else lines

    def joined(self, asked: Discovery) -> Discovery:
        """Return this discovery with the results of asking some nodes."""
        return replace(
            asked,
            nodes=tuple(sorted({*self.nodes, *asked.nodes})),
            not_asked=self.not_asked,
            absent=self.absent,
            why_none=self.why_none,
            known=self.known,
        )


@dataclass(frozen=True)
class Candidates:
    """What the registry tells about the nodes that could match: names, and reasons for nodes that cannot be asked.

    `absent` are named nodes that the registry does not have, or that have stopped, with the reason. `contested` are
    nodes whose identity two machines use. `why_none` explains why no node is matching or undecided.
    """

    matching: list[str] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)
    not_asked: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    contested: list[str] = field(default_factory=list)
    why_none: str = ""


def candidates(
    contents: Contents, now: float, targets: Targets, agent: str, is_revoked: Callable[[NodeRecord], bool]
) -> Candidates:
    """Return the registered nodes that could match `targets` and have `agent`.

    With the method `broadcast` every node that is alive is undecided, because it decides itself with its own facts.
    Raises UsageError for regular expressions that take too long.
    """
    found = Candidates()
    budget = Budget(_SEARCH_SECONDS)
    asks = bool(uses_data(targets.filter))
    alive = possible = 0
    for record in contents.records:
        is_alive = record.alive(now)
        alive += is_alive
        if not _is_target(targets, record.identity) or not _could_match(targets, record, budget, asks):
            continue
        possible += is_alive
        if _add(found, record, now, agent, is_revoked(record)):
            asked = _must_be_asked(targets, record, budget, asks)
            (found.undecided if asked else found.matching).append(record.identity)
    if budget.spent:
        raise UsageError(f"filter: its regular expressions take more than {_SEARCH_SECONDS} s (simplify them)")
    for name, problem in contents.invalid.items():
        if _is_target(targets, name) and _is_named(targets.filter, name):
            found.not_asked[name] = f"invalid record in the registry: {problem}"
    why_none = _why_none(found, alive, possible, agent)
    if alive and not possible:
        unknown = unknown_names(targets.filter, contents.records)
        why_none = f"no node matches the filter ({unknown})" if unknown else why_none
    return replace(found, absent=_absent(targets, contents, now), why_none=why_none)


def _add(found: Candidates, record: NodeRecord, now: float, agent: str, revoked: bool) -> bool:
    """Return whether a node that could match can be asked; note why not. One that stopped cleanly is not expected."""
    name = record.identity
    if record.left is not None or (agent not in record.agents and agent not in record.refused):
        return False
    if record.is_contested(now):
        found.contested.append(name)
    if not record.alive(now):
        found.not_asked[name] = f"last seen {silence.ago(now - record.last_seen)}"
    elif revoked:
        found.not_asked[name] = "its key is revoked"
    elif agent in record.refused:
        found.not_asked[name] = f"its agent '{agent}' failed to load: {record.refused[agent]}"
    else:
        return True
    return False


def excluded(contents: Contents, now: float, targets: Targets, agent: str, found: Discovery) -> dict[str, str]:
    """Return the registered nodes that match `targets` and are neither found nor in `not_asked`, with the reason.

    What only nodes can decide is not known here, so that a node that may match is included.
    """
    budget = Budget(_SEARCH_SECONDS)
    asks = bool(uses_data(targets.filter))
    named = {*found.nodes, *found.not_asked, *found.not_evaluated, *found.silent}
    reasons = {}
    for record in sorted(contents.records, key=lambda record: record.identity):
        name = record.identity
        if name in named or not _is_target(targets, name) or not _could_match(targets, record, budget, asks):
            continue
        if record.left is not None:
            reasons[name] = f"stopped cleanly {silence.ago(now - record.left)}"
        elif agent not in record.agents and agent not in record.refused:
            reasons[name] = f"has no agent '{agent}'"
        elif targets.limit is not None:
            reasons[name] = f"not chosen by the limit {targets.limit}"
    return reasons


def _is_target(targets: Targets, identity: str) -> bool:
    return targets.nodes is None or identity in targets.nodes


def _could_match(targets: Targets, record: NodeRecord, budget: Budget, asks: bool) -> bool:
    """Return whether a node may match; `asks`: the filter has data functions, which only nodes can run."""
    wanted = targets.filter
    if targets.method == "broadcast":
        return True
    if not record.omitted and not asks:
        return matches(wanted, record, no_data, budget)
    return may_match(wanted, record, _known_of(record), budget)


def _must_be_asked(targets: Targets, record: NodeRecord, budget: Budget, asks: bool) -> bool:
    wanted = targets.filter
    if targets.method == "broadcast" or asks:
        return True
    return bool(record.omitted) and may_differ(wanted, record, _known_of(record), budget)


def _known_of(record: NodeRecord) -> Callable[[FactTest | ClassTest], bool]:
    """Return a function that returns whether the registry knows the result of a test for this node."""
    facts, classes = "facts" in record.omitted, "classes" in record.omitted

    def known(test: FactTest | ClassTest) -> bool:
        if isinstance(test, ClassTest):
            return not classes
        return not facts or look_up(record.facts, test.fact) is not None

    return known


def _is_named(wanted: Filter, name: str) -> bool:
    """Return whether the filter's identities allow a node of which nothing else is known."""
    only = Filter(identities=wanted.identities)
    return matches(only, NodeRecord(name, ""), no_data)


def _absent(targets: Targets, contents: Contents, now: float) -> dict[str, str]:
    """Return the nodes that `targets` names and that do not exist or have stopped, with the reason."""
    records = {record.identity: record for record in contents.records}
    named = targets.filter.literal_identities if targets.nodes is None else targets.nodes
    known = {name for name in named if _is_named(targets.filter, name)} - contents.invalid.keys()
    unknown = sorted(known - records.keys())
    reasons = {name: "not in the registry" + _meant(name, records, len(unknown)) for name in unknown}
    left = ((name, records[name].left) for name in sorted(known & records.keys()))
    return reasons | {name: f"stopped cleanly {silence.ago(now - time)}" for name, time in left if time is not None}


def _meant(name: str, known: Iterable[str], number: int) -> str:
    """Return a hint at the node that was probably meant, ` (did you mean 'web1'?)`; nothing for a `number` of names."""
    hint = suggest(name.lower().rstrip("."), known) if number <= silence.MAX_LINES else ""
    return f" ({hint})" if hint else ""


def _why_none(found: Candidates, alive: int, possible: int, agent: str) -> str:
    """Return why no node was found; `possible` nodes that are alive could match, with or without the agent."""
    if found.undecided:
        return f"no node matches the filter ({plural(len(found.undecided), 'node')} asked)"
    if not alive:
        return "no node is alive in the registry"
    if not possible:
        return f"no node matches the filter ({plural(alive, 'node')} alive)"
    if found.not_asked:
        return "no node that matches the filter can be asked"
    return f"none of the matching nodes has the agent '{agent}' ({plural(possible, 'node')})"


def answers(outcomes: Outcomes, request_ids: Iterable[str]) -> Discovery:
    """Return what nodes answered to the question whether they match."""
    replies = outcomes.replies.values()
    return Discovery(
        nodes=tuple(sorted(reply.sender for reply in replies if reply.ok)),
        not_evaluated={
            reply.sender: reply.statusmsg.removeprefix("the filter could not be evaluated: ")
            for reply in sorted(replies, key=lambda reply: reply.sender)
            if not reply.ok and reply.reason != FILTERED
        },
        silent=tuple(outcomes.silent),
        request_ids=tuple(request_ids),
    )
