"""What the policies of the nodes say about a planned call, as far as copies of them are at hand.

The registry has the digest of each node's policy: a copy with that digest is the policy of the node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collective.ddl import Action
from collective.fleet.plan import CallPlan
from collective.policy import CallFacts, KnownNode, Policy, Question
from collective.policy.input_types import input_types
from collective.registry import NodeRecord

_NO_RECORD = "not in the registry"
_NO_DIGEST = "it has published no valid policy"
_OTHER = "its policy is none of the files"


@dataclass(frozen=True)
class PolicyForecast:
    """The nodes whose policy refuses the call, and those whose decision is not known, with the reason."""

    denied: Mapping[str, str]
    unknown: Mapping[str, str]


def policy_forecast(
    plan: CallPlan, records: Iterable[NodeRecord], policies: Iterable[Policy], caller: str, now: float
) -> PolicyForecast:
    """Return what the policies say about a plan of `caller` at the time `now`, in Unix seconds."""
    by_digest = {one.digest: one for one in policies}
    known = {record.identity: record for record in records}
    denied: dict[str, str] = {}
    unknown: dict[str, str] = {}
    for node in plan.nodes:
        record = known.get(node)
        if record is None or record.policy not in by_digest:
            unknown[node] = _NO_RECORD if record is None else _OTHER if record.policy else _NO_DIGEST
            continue
        reason, certain = _refusal(plan, by_digest[record.policy], record, caller, now)
        if reason:
            (denied if certain else unknown)[node] = reason
    return PolicyForecast(denied, unknown)


def _refusal(plan: CallPlan, policy: Policy, record: NodeRecord, caller: str, now: float) -> tuple[str, bool]:
    """Return why the policy of a node may refuse a call or one of its hooks, and whether it certainly does."""
    steps: list[tuple[str, Action, Mapping[str, Any]]] = [("", plan.action, plan.data)]
    steps += [(f"{name}: ", hook.action, hook.data) for name, hook in plan.hooks.named().items()]
    node = KnownNode(record.facts, frozenset(record.classes), record.identity, frozenset(record.agents))
    call = CallFacts(plan.reason or "", len(plan.nodes), None, now)
    possible = ""
    for name, action, data in steps:
        known = {(action.agent, action.name): input_types(action.input)}
        asked = Question(caller, action.agent, action.name, data, node, known=known, call=call)
        decisions = policy.possible(asked)
        denials = [one.why for one in decisions if not one.allow]
        reason = f"{name}{' or '.join(dict.fromkeys(denials))}" if denials else ""
        if len(denials) == len(decisions):
            return reason, True
        possible = possible or reason
    return possible, False
