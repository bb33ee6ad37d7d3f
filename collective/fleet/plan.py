"""A call that is checked and whose nodes are known, but that is not sent yet; and how it is saved in a file.

    fleet.plan(…) ─► CallPlan ─► fleet.start(plan) ─► Call
                        │
                        └── saved(plan) ─► file ─► read_saved ─► drift(saved, plan) ─► what has changed since

A saved plan has the digest of the DDL, the nodes and the agent's version on each of them, so that what is run later is
what was looked at; the planner's signature (plan_signature.py) detects edits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collective import bounded_json, ddl, schemas
from collective.errors import MessageError, UsageError
from collective.filters import Filter
from collective.fleet import approvals, plan_signature
from collective.fleet.amounts import Amount
from collective.fleet.background import Background
from collective.fleet.discovery import Discovery
from collective.fleet.gates import NO_GATES, Gates
from collective.fleet.grouping import Facts
from collective.fleet.pace import Pace
from collective.fleet.runs.earlier_run import EarlierRun
from collective.fleet.steps import NO_HOOKS, Hook, Hooks
from collective.fleet.targets import Targets
from collective.fleet.waves import PlannedWave
from collective.messages import new_id
from collective.nodesets import fold
from collective.schema_check import SchemaCheck
from collective.signing import SignPayload
from collective.text import plural
from collective.time_limit import OUTPUT_SECONDS

MOST_BYTES = 64 * 1024 * 1024  # of a file with a saved plan
_SCHEMA = "rollout-plan"


@dataclass(frozen=True)
class CallPlan:
    """What a call will do. `data` are the inputs with their defaults; `timeout` and `ttl` are in seconds.

    `hooks` run before and after the action on each node, `gates` are checked between waves. With `dry_run` the
    nodes only report what the action would change; with `background` they run it as a job. `reason` is why, for
    policies that require one, and `approvals` are the signatures of other callers.
    `earlier` is what another caller has reached of the same run.

    `found` are the nodes, `waves` the same nodes in the order in which they are reached, `facts` those that the pace
    needs, by node.
    """

    action: ddl.Action
    data: Mapping[str, Any]
    targets: Targets
    pace: Pace
    timeout: float
    ttl: float
    found: Discovery
    waves: tuple[PlannedWave, ...]
    facts: Facts = field(default_factory=dict)
    discovery_ms: float = 0.0
    hooks: Hooks = NO_HOOKS
    gates: Gates = NO_GATES
    dry_run: bool = False
    background: Background | None = None
    reason: str | None = None
    approvals: Mapping[str, Any] | None = None
    earlier: EarlierRun | None = None

    @property
    def idempotent(self) -> bool:
        """Whether the action and its hooks are idempotent."""
        return self.action.idempotent and all(hook.action.idempotent for hook in self.hooks.named().values())

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes, sorted."""
        return self.found.nodes


@dataclass(frozen=True)
class Parties:
    """Who makes a plan, and for which collective in which installation."""

    collective: str
    installation: str
    caller: str


def saved(
    plan: CallPlan,
    versions: Mapping[str, str],
    parties: Parties,
    created: float,
    sign: SignPayload,
    valid: float = approvals.EXPIRES,
) -> dict[str, Any]:
    """Return the signed document of a plan, whose approvals are valid for `valid` seconds.

    Raises UsageError for a dry run, and when its inputs are secret.
    """
    if plan.dry_run:
        raise UsageError("--save-plan: not allowed with --dry-run (the plan would be applied for real)")
    for part in (Hook(plan.action, plan.data), *plan.hooks.named().values()):
        if secret := sorted(part.action.secrets & part.data.keys()):
            raise UsageError(f"--save-plan: the input '{secret[0]}' is secret and must not be written to a file")
    document = {
        "schema": schemas.schema_id(_SCHEMA),
        "run": new_id(),
        "created": created,
        "collective": parties.collective,
        "caller": parties.caller,
        **content(plan),
        "data": dict(plan.data),
        "hooks": {name: _hook_data(hook) for name, hook in plan.hooks.named().items()},
        "waves": [{"rank": wave.rank, "nodes": list(wave.nodes)} for wave in plan.waves],
        "versions": dict(versions),
    }
    approval = approvals.document(document, parties.installation, created + valid)
    return plan_signature.signed({**document, "approval": {"document": approval, "signatures": {}}}, sign)


def content(plan: CallPlan) -> dict[str, Any]:
    """Return what a plan would do, but for its nodes, as JSON with secrets masked."""
    hooks = {
        name: {**_hook_data(hook), "data": hook.action.masked(hook.data)} for name, hook in plan.hooks.named().items()
    }
    return {
        "agent": plan.action.agent,
        "action": plan.action.name,
        "data": plan.action.masked(plan.data),
        "targets": _targets_data(plan.targets),
        "pace": plan.pace.to_data(),
        "timeout": plan.timeout,
        "ttl": plan.ttl,
        "hooks": hooks,
        "gates": {
            "gates": [gate.name for gate in plan.gates.gates],
            "every": plan.gates.every,
            "action": plan.gates.action,
        },
        "reason": plan.reason,
        "background": plan.background.to_data() if plan.background else None,
        "ddl_digest": ddl_digest(plan),
    }


def read_saved(path: Path) -> dict[str, Any]:
    """Return the document of a saved plan, whose signature is not verified yet; raise UsageError when it is not one."""
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1).decode()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except ValueError:
        raise UsageError(f"{path}: not UTF-8 (a plan is written by --save-plan)") from None
    if len(text) > MOST_BYTES:
        raise UsageError(f"{path}: more than {MOST_BYTES} bytes (a plan is written by --save-plan)")
    return checked(text, str(path))


def checked(text: str, where: str) -> dict[str, Any]:
    """Return the document of a saved plan, as `read_saved` does; `where` names it in messages."""
    try:
        document = bounded_json.parse(text, where)
    except MessageError as error:
        raise UsageError(f"{error} (a plan is written by --save-plan)") from None
    if not isinstance(document, dict) or document.get("schema") != schemas.schema_id(_SCHEMA):
        raise UsageError(f"{where}: not a plan (a plan is written by --save-plan)")
    problem = SchemaCheck(schemas.load(_SCHEMA)).first_error(document, OUTPUT_SECONDS)
    if problem:
        raise UsageError(f"{where}: not a valid plan: {problem.message} (make a new plan)")
    return document


def saved_targets(document: Mapping[str, Any]) -> Targets:
    """Return the targets of a saved plan: with a limit, exactly the nodes that were selected at random."""
    given = document["targets"]
    nodes = given["nodes"]
    if given["limit"] is not None:
        nodes = [name for wave in document["waves"] for name in wave["nodes"]]
    return Targets(Filter.from_data(given["filter"]), nodes, given["method"], given["discovery_timeout"])


def drift(document: Mapping[str, Any], now: CallPlan, versions: Mapping[str, str]) -> list[str]:
    """Return what differs between a saved plan and the same call planned now, a line for each difference."""
    before = {name for wave in document["waves"] for name in wave["nodes"]}
    changes = []
    if ddl_digest(now) != document["ddl_digest"]:
        changes.append(f"the DDL of '{now.action.agent}' has changed")
    if gone := sorted(before - set(now.nodes)):
        changes.append(f"{plural(len(gone), 'node')} no longer matched: {fold(gone)}")
    if new := sorted(set(now.nodes) - before):
        changes.append(f"{plural(len(new), 'node')} matched in addition: {fold(new)}")
    earlier = document["versions"]
    other = sorted(name for name in before & versions.keys() if versions[name] != earlier.get(name))
    if other:
        changes.append(f"{plural(len(other), 'node')} with another version of '{now.action.agent}': {fold(other)}")
    planned = [(wave["rank"], tuple(wave["nodes"])) for wave in document["waves"]]
    if not changes and planned != [(wave.rank, wave.nodes) for wave in now.waves]:
        changes.append("the facts that order the nodes have changed")
    return changes


def ddl_digest(plan: CallPlan) -> str:
    """Return the digest of what the DDLs say about the action and its hooks."""
    actions = [plan.action, *(hook.action for hook in plan.hooks.named().values())]
    return _digest([[one.agent, one.name, one.timeout, one.idempotent, one.input, one.output] for one in actions])


def _hook_data(hook: Hook) -> dict[str, Any]:
    return {"agent": hook.action.agent, "action": hook.action.name, "data": dict(hook.data)}


def _targets_data(targets: Targets) -> dict[str, Any]:
    return {
        "filter": targets.filter.to_data(),
        "nodes": None if targets.nodes is None else list(targets.nodes),
        "method": targets.method,
        "discovery_timeout": targets.discovery_timeout,
        "limit": _text(targets.limit),
    }


def _text(amount: Amount | None) -> str | None:
    return None if amount is None else str(amount)


def _digest(document: Any) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
