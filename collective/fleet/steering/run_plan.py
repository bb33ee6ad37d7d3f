"""The call of a shared run as its record has it, and the same call again for the caller that takes it.

The first caller signs it with the nodes, the facts that order them, and the keys that may go on with the run. Secret
inputs are not in the record: the caller that takes it gives them again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from collective.errors import RunRefused, UsageError
from collective.filters import Filter
from collective.fleet.background import Background
from collective.fleet.discovery import Discovery
from collective.fleet.gates import Gates
from collective.fleet.grouping import Facts
from collective.fleet.pace import Pace
from collective.fleet.plan import CallPlan, content, ddl_digest
from collective.fleet.runs.earlier_run import EarlierRun
from collective.fleet.steps import Hooks
from collective.fleet.targets import Targets
from collective.fleet.waves import plan_waves
from collective.masking import MASK

if TYPE_CHECKING:
    from collective.fleet.fleet import Fleet
    from collective.fleet.runs.saved_run import SavedRun

TYPE = "run"  # of the document, so that its signature is not valid for anything else


@dataclass(frozen=True)
class Beginning:
    """Who begins a run, for which collective, when in Unix seconds, and the allowed signers that may go on with it."""

    run: str
    collective: str
    caller: str
    time: float
    signers: str


def document(plan: CallPlan, beginning: Beginning) -> dict[str, Any]:
    """Return the document of a run, which is to be signed."""
    return {
        "type": TYPE,
        **vars(beginning),
        "call": content(plan),
        "nodes": list(plan.nodes),
        "facts": _needed_facts(plan.facts, plan.pace),
        "approvals": dict(plan.approvals) if plan.approvals else None,
        "dry_run": plan.dry_run,
    }


def plan_again(
    fleet: Fleet, signed: Mapping[str, Any], run: SavedRun, secrets: Mapping[str, Any], gates: Gates
) -> CallPlan:
    """Return the call of a run as this caller goes on with it. `gates` are those of the document.

    Raises RunRefused when the DDL has changed, and UsageError without its secret inputs.
    """
    try:
        plan = _plan_again(fleet, signed, run, secrets, gates)
        digest = signed["call"]["ddl_digest"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunRefused(
            f"its plan cannot be read: {type(error).__name__}: {error} (was it begun by another version of crpc?)"
        ) from None
    if ddl_digest(plan) != digest:
        agent = plan.action.agent
        raise RunRefused(f"the DDL of '{agent}' here is another one (install the one that it began with)")
    return plan


def _plan_again(
    fleet: Fleet, signed: Mapping[str, Any], run: SavedRun, secrets: Mapping[str, Any], gates: Gates
) -> CallPlan:
    call, nodes = signed["call"], tuple(signed["nodes"])
    described = fleet.catalog.action(call["agent"], call["action"])
    pace = Pace(**call["pace"])
    _check_hooks(call["hooks"])
    given, hooks = call["targets"], {name: fleet.hook(**hook) for name, hook in call["hooks"].items()}
    return CallPlan(
        action=described,
        data=described.check_input(_with_secrets(call["data"], secrets, described.secrets)),
        targets=Targets(Filter.from_data(given["filter"]), nodes),
        pace=pace,
        timeout=call["timeout"],
        ttl=call["ttl"],
        found=_found(nodes, run.request),
        waves=plan_waves(nodes, pace.sizes, pace.order_by, signed["facts"]),
        facts=signed["facts"],
        discovery_ms=float(run.request.get("discovery_ms", 0.0)),
        hooks=Hooks(**hooks),
        gates=gates,
        dry_run=signed["dry_run"],
        background=Background(**call["background"]) if call["background"] else None,
        reason=call["reason"],
        approvals=signed["approvals"],
    )


def settled(plan: CallPlan, run: SavedRun) -> CallPlan:
    """Return a plan that goes on from what has been reached of a run now."""
    return replace(plan, earlier=earlier(run))


def earlier(run: SavedRun) -> EarlierRun:
    """Return what has been reached of a run; a node without a reply is silent."""
    from collective.fleet.runs.saved_call import SavedCall

    replies = SavedCall(run).outcomes.replies
    ended = {node: replies[node].ok if node in replies else None for node in run.reached}
    return EarlierRun(run.begin["run"], ended, tuple(replies.values()))


def _check_hooks(hooks: Mapping[str, Any]) -> None:
    """Raise RunRefused for a hook with a secret input, which the record does not have."""
    for name, hook in hooks.items():
        if MASK in hook["data"].values():
            raise RunRefused(f"'{name}' has a secret input, which is not in the record (crpc retry)")


def _found(nodes: tuple[str, ...], request: Mapping[str, Any]) -> Discovery:
    return Discovery(
        nodes=nodes,
        not_asked=request.get("not_asked", {}),
        not_evaluated=request.get("not_evaluated", {}),
        silent=tuple(request.get("undiscovered", ())),
    )


def _with_secrets(data: Mapping[str, Any], secrets: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    """Return inputs with the secrets that were given again; raise UsageError for one that is missing."""
    for name in secrets:
        if name not in names:
            raise UsageError(f"'{name}': only secrets can be given again, the other inputs are those of the run")
    complete = {**data, **secrets}
    lacking = [name for name in sorted(names) if complete.get(name) == MASK]
    if lacking:
        raise UsageError(
            f"the secret '{lacking[0]}' is not in the record (give it again: {lacking[0]}=…, or {lacking[0]}=@FILE)"
        )
    return complete


def _needed_facts(facts: Facts, pace: Pace) -> dict[str, dict[str, Any]]:
    """Return only what the pace needs of the facts of each node."""
    return {
        node: {
            name: value
            for name, value in known.items()
            if any(fact == name or fact.startswith(f"{name}.") for fact in pace.facts)
        }
        for node, known in facts.items()
    }
