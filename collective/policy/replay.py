"""Decide the requests of an audit log again by another policy, and compare the decisions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from collective import data_ddl
from collective.audit.cutting import CUT, is_cut
from collective.audit.records import Record
from collective.filters import Node
from collective.masking import MASK
from collective.policy.input_names import Actions
from collective.policy.requirements import CallFacts
from collective.policy.rules import Decision, Policy, Question

_ALLOWED = frozenset({"allowed", "filtered", "invalid", "busy"})  # the last three are checked after the policy
_DENIED = "denied"


@dataclass(frozen=True)
class DescribedActions:
    """What the DDLs say: `complete(agent, action, data)` returns the inputs with defaults, `inputs` has their names."""

    complete: Callable[[str, str, Mapping[str, Any]], Mapping[str, Any]]
    inputs: Actions = field(default_factory=dict)


@dataclass(frozen=True)
class Replayed:
    """A recorded request. `was`: it was allowed. `now`: the possible decisions, exactly one if all data is known."""

    record: Record
    was: bool
    now: tuple[Decision, ...]

    @property
    def state(self) -> str:
        """`same`, `different`, or `undecidable` when data is missing."""
        verdicts = {decision.allow for decision in self.now}
        if len(verdicts) > 1:
            return "undecidable"
        return "same" if self.was in verdicts else "different"


def replay(
    policy: Policy, records: Iterable[Record], node: Node | None, described: DescribedActions
) -> Iterator[Replayed]:
    """Yield the decision of `policy` on each recorded request that a policy has decided.

    `node` is the current node, None if unknown.
    """
    for record in records:
        verdict = record.decision.get("verdict")
        if verdict in _ALLOWED or verdict == _DENIED:
            yield Replayed(record, verdict != _DENIED, _decide(policy, record.decision, node, described))


def _decide(
    policy: Policy, decision: Mapping[str, Any], node: Node | None, described: DescribedActions
) -> tuple[Decision, ...]:
    """Return the possible decisions on a request. The data functions in its filter must be allowed as well."""
    questions = list(_questions(decision, node, described))
    possible = [policy.possible(question) for question in questions]
    denials = [decision for decisions in possible for decision in decisions if not decision.allow]
    if all(any(decision.allow for decision in decisions) for decisions in possible):
        return (*(decision for decision in possible[0] if decision.allow), *denials)
    return tuple(denials)


def _questions(decision: Mapping[str, Any], node: Node | None, described: DescribedActions) -> Iterator[Question]:
    caller, agent, action = (str(decision.get(name)) for name in ("caller", "agent", "action"))
    recorded = decision.get("data")
    data = dict(recorded) if isinstance(recorded, Mapping) else {}
    masked = frozenset(name for name, value in data.items() if value == MASK or is_cut(value))
    partial = data.pop(CUT, None) is not None
    known, dry_run, call = described.inputs, decision.get("dry_run") is True, _call_facts(decision)
    whole = described.complete(agent, action, data)
    yield Question(caller, agent, action, whole, node, masked, partial, dry_run, known, call)
    asks = decision.get("asks")
    for ask in asks if isinstance(asks, list) else ():
        if isinstance(ask, list) and len(ask) == 2 and ask[0] != CUT:
            query, unknown = {"query": str(ask[1])}, frozenset({"query"} if is_cut(ask[1]) else ())
            yield Question(
                caller, data_ddl.AGENT, str(ask[0]), query, node, unknown, dry_run=dry_run, known=known, call=call
            )


def _call_facts(decision: Mapping[str, Any]) -> CallFacts:
    """Return what the audit log knows about a call: not how many nodes the caller's other calls were for."""
    reason, targets, time, approvers = (decision.get(name) for name in ("reason", "targets", "time", "approvers"))
    return CallFacts(
        reason if isinstance(reason, str) else "",
        targets if isinstance(targets, int) else None,
        None,
        float(time) if isinstance(time, (int, float)) else None,
        tuple(map(str, approvers)) if isinstance(approvers, list) else (),
    )
