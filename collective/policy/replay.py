"""Ask a policy again what an audit says was decided."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from collective import data_ddl
from collective.audit.records import Record
from collective.filters import Node
from collective.masking import MASK
from collective.policy.rules import Decision, Policy, Question

Complete = Callable[[str, str, Mapping[str, Any]], Mapping[str, Any]]

_ALLOWED = frozenset({"allowed", "filtered", "invalid", "busy"})  # what ended such a request stands behind the policy
_DENIED = "denied"


@dataclass(frozen=True)
class Replayed:
    """A recorded request: `was` allowed or not, and what may be decided `now`: one decision, when all is known."""

    record: Record
    was: bool
    now: tuple[Decision, ...]

    @property
    def state(self) -> str:
        """Tell `same`, `different`, or `undecidable` by what is known."""
        verdicts = {decision.allow for decision in self.now}
        if len(verdicts) > 1:
            return "undecidable"
        return "same" if self.was in verdicts else "different"


def replay(policy: Policy, records: Iterable[Record], node: Node | None, complete: Complete) -> Iterator[Replayed]:
    """Yield what `policy` says of each recorded request that a policy has decided before.

    `node` is the node as it is now, None when that is not known; `complete(agent, action, data)` fills in defaults.
    """
    for record in records:
        verdict = record.decision.get("verdict")
        if verdict in _ALLOWED or verdict == _DENIED:
            yield Replayed(record, verdict != _DENIED, _decide(policy, record.decision, node, complete))


def _decide(policy: Policy, decision: Mapping[str, Any], node: Node | None, complete: Complete) -> tuple[Decision, ...]:
    """Return what may be decided about a request and the data functions that it asks about: all must be allowed."""
    questions = list(_questions(decision, node, complete))
    possible = [policy.possible(question) for question in questions]
    denials = [found for one in possible for found in one if not found.allow]
    if all(any(found.allow for found in one) for one in possible):
        return (*(found for found in possible[0] if found.allow), *denials)
    return tuple(denials)


def _questions(decision: Mapping[str, Any], node: Node | None, complete: Complete) -> Iterator[Question]:
    caller, agent, action = (str(decision.get(name)) for name in ("caller", "agent", "action"))
    recorded = decision.get("data")
    data = dict(recorded) if isinstance(recorded, Mapping) else {}
    masked = frozenset(name for name, value in data.items() if value == MASK)
    yield Question(caller, agent, action, complete(agent, action, data), node, masked)
    asks = decision.get("asks")
    for ask in asks if isinstance(asks, list) else ():
        if isinstance(ask, list) and len(ask) == 2:
            yield Question(caller, data_ddl.AGENT, str(ask[0]), {"query": str(ask[1])}, node)
