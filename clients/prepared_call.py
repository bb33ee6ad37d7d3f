"""A call that is ready to be sent: checked inputs, targets and pace. `crpc` sends it once, or again and again.

prepared = PreparedCall(action, data, targets, pace)
with connected(config, catalog) as fleet:
    call = send(args, fleet, prepared)
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from collective.clients.notifier import NO_NOTIFIER, Notifier
from collective.errors import TooManyTargets

if TYPE_CHECKING:
    from collective.catalog import Catalog
    from collective.clients.confirmation import Confirmation
    from collective.config import ClientConfig
    from collective.ddl import Action
    from collective.fleet.background import Background
    from collective.fleet.call import Call
    from collective.fleet.confirmation import Confirm
    from collective.fleet.fleet import Fleet
    from collective.fleet.gates import Gates
    from collective.fleet.pace import Pace
    from collective.fleet.plan import CallPlan
    from collective.fleet.recording import CallRecord
    from collective.fleet.steps import Hooks
    from collective.fleet.targets import Targets


_ACCEPTING = 10.0  # seconds for a node to accept a job, in addition to the transit time


@dataclass(frozen=True)
class PreparedCall:
    """An action with its checked inputs.

    `confirmation` is the question before many nodes are reached (None: more than the configured number are refused).
    `timeout` and `ttl` are seconds; None: as in the DDL and the configuration. `retry_of` is the ID of a run. `hooks`
    run before and after the action, `gates` are checked between waves (None: there are none). `max_cost` is in US
    dollars. With `background`, nodes run the action as a job. `reason` is for policies. `record` saves the call (None:
    as the options ask); the `notifier` reports its end.
    """

    action: Action
    data: Mapping[str, Any]
    targets: Targets
    pace: Pace
    confirmation: Confirmation | None = None
    timeout: float | None = None
    ttl: float | None = None
    retry_of: str | None = None
    dry_run: bool = False
    hooks: Hooks | None = None
    gates: Gates | None = None
    max_cost: float | None = None
    background: Background | None = None
    reason: str | None = None
    record: CallRecord | None = None
    notifier: Notifier = NO_NOTIFIER


@contextmanager
def connected(config: ClientConfig, catalog: Catalog, targets: Targets | None = None) -> Iterator[Fleet]:
    """Connect to the collective of `config` for the time of a block.

    If `targets` need the registry, it is read while modules are imported and the other clients are made.
    """
    from collective.fleet.connection import Connection

    connection = Connection(config)
    if targets is not None and targets.sets is None and targets.only_names is None:
        connection.begin_reading()
    from collective.fleet.fleet import Fleet

    with Fleet.connect(config, catalog, connection=connection) as fleet:
        yield fleet


def planned(fleet: Fleet, prepared: PreparedCall) -> CallPlan:
    """Find the nodes of a call; nothing is sent. Raises what `Fleet.plan` raises."""
    from collective.fleet.gates import NO_GATES
    from collective.fleet.steps import NO_HOOKS

    accepting = fleet.config.transit + _ACCEPTING if prepared.background else None
    plan = fleet.plan(
        prepared.action.reference,
        prepared.action.name,
        prepared.data,
        targets=prepared.targets,
        pace=prepared.pace,
        timeout=prepared.timeout or accepting,
        ttl=prepared.ttl,
        hooks=prepared.hooks or NO_HOOKS,
        dry_run=prepared.dry_run,
    )
    return replace(plan, gates=prepared.gates or NO_GATES, background=prepared.background, reason=prepared.reason)


def send(args: argparse.Namespace, fleet: Fleet, prepared: PreparedCall) -> Call:
    """Send the request, and return the call. Raises what `Fleet.call` raises, PlanRefused and TooManyTargets."""
    from collective.clients import rollout_plan
    from collective.clients.run_records import recorder

    plan = planned(fleet, prepared)
    rollout_plan.check_cost(plan, fleet, prepared.max_cost)
    record = prepared.record or recorder(args, fleet, plan, prepared.retry_of)
    return start(args, fleet, plan, prepared.confirmation, record, prepared.notifier)


def detach(args: argparse.Namespace, fleet: Fleet, prepared: PreparedCall) -> int:
    """Hand a call over to a process in the background, and return the exit code; raise what `send` raises."""
    from collective.clients import rollout_plan

    plan = planned(fleet, prepared)
    rollout_plan.check_cost(plan, fleet, prepared.max_cost)
    return hand_over(args, fleet, plan, prepared.confirmation, prepared.retry_of)


def hand_over(
    args: argparse.Namespace,
    fleet: Fleet,
    plan: CallPlan,
    confirmation: Confirmation | None,
    retry_of: str | None = None,
) -> int:
    """Ask whatever must be asked, and hand a planned call over to a process in the background."""
    from collective.clients import detached

    detached.check_gates(plan.gates)
    return detached.hand_over(args, fleet, plan, _confirm(args, plan, confirmation), retry_of)


def start(
    args: argparse.Namespace,
    fleet: Fleet,
    plan: CallPlan,
    confirmation: Confirmation | None,
    record: CallRecord,
    notifier: Notifier = NO_NOTIFIER,
) -> Call:
    """Ask whatever must be asked, and send a planned call; raise TooManyTargets when it is not confirmed."""
    confirm = _confirm(args, plan, confirmation)
    plan = replace(plan, gates=notifier.gates(plan.gates))
    return fleet.start(plan, confirm=confirm, record=record)


def _confirm(args: argparse.Namespace, plan: CallPlan, confirmation: Confirmation | None) -> Confirm | None:
    """Return the question before many nodes are reached; ask it now when their number must be typed."""
    confirm = confirmation.confirm(args.yes) if confirmation else None
    if confirmation and confirm and not plan.dry_run and confirmation.must_type(plan.nodes):
        if not confirm(list(plan.nodes)):
            raise TooManyTargets(len(plan.nodes), "not confirmed")
        confirm = confirmation.confirm(yes=True)
    return confirm
