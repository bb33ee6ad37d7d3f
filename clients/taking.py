"""Go on with a rollout whose caller has ended: `crpc run take`, in this terminal or in the background."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from collective.clients import detached, options, run_records
from collective.clients.confirmation import ask_whether
from collective.clients.found_rollouts import FoundRollout
from collective.clients.notify_options import notifier
from collective.clients.results import CallOutput, present
from collective.clients.rollout_checks import read_gates
from collective.clients.streams import notice
from collective.errors import RunRefused
from collective.text import escape_controls

if TYPE_CHECKING:
    from collective.config import ClientConfig
    from collective.fleet.outcomes import Outcomes


def take_rollout(args: argparse.Namespace, config: ClientConfig, found: FoundRollout) -> int:
    """Go on with a rollout until its end, and print all results; return its exit code."""
    from collective.fleet.fleet import Fleet
    from collective.fleet.steering.continuation import Continuation, SteeringTimes
    from collective.fleet.steering.takeover import plan_of, readable_by, take

    handover = detached.read_handover(args, config, plan_of(found.read())["call"])
    notifying = notifier(args, config)
    steerer = run_records.steerer(config, found.store, shared=found.shared)
    document = readable_by(found.store, found.entry, steerer).plan
    confirm_plan(args, config, document, handover.confirmed, shared=found.shared)
    if args.detach:
        detached.check_gates(read_gates(**document["call"]["gates"]))
        confirmed = detached.Handover(handover.secrets, _signature(document))
        return detached.spawn(args, config, found.store, found.entry.run, confirmed)
    taken, lease = take(found.store, found.entry, steerer)
    lease.keep()
    try:
        if taken.plan != document:
            raise RunRefused(f"{found.entry.where} was replaced while it was shown (look at it again)")
        with Fleet.connect(config) as fleet:
            times = SteeringTimes(run_records.POLL, found.store.now)
            continuation = Continuation(taken, lease, handover.secrets, times, _warn)
            gates = notifying.gates(read_gates(**taken.plan["call"]["gates"]))
            plan = continuation.plan(fleet, gates)
            record = continuation.record(run_records.limits(config, shared=found.shared))
            record.leaves = args.in_background
            call = fleet.start(plan, confirm=lambda _: True, record=_mirrored(args, config, found, record))
            with notifying.following(call):
                return present(CallOutput(call, args), call, fleet)
    finally:
        lease.release(None)


def confirm_plan(
    args: argparse.Namespace, config: ClientConfig, plan: Mapping[str, Any], confirmed: str | None, *, shared: bool
) -> None:
    """Show what goes on, and ask whether this caller is to send it, if another caller has planned it.

    Nodes check the requests as those of this caller, and gates run commands on this machine. So a caller that nodes
    trust, but allow little, must not be able to leave a run behind that another one takes without looking. `confirmed`
    is the signature of the plan that was confirmed already. Raises RunRefused.
    """
    asks = shared and plan["caller"] != config.caller and not args.yes and confirmed != _signature(plan)
    if asks or not args.quiet:
        _describe(plan)
    if asks and not ask_whether(f"go on with it as '{config.caller}'?"):
        raise RunRefused(f"'{escape_controls(plan['caller'])}' has planned it: not confirmed (--yes does not ask)")


def _signature(plan: Mapping[str, Any]) -> str:
    return plan["signature"] or ""


def _mirrored(args: argparse.Namespace, config: ClientConfig, found: FoundRollout, record: Any) -> Any:
    """Return the record with a copy on this machine, if it is shared."""
    args.no_save = False
    if not found.shared or not config.save_runs:
        return record
    from collective.fleet.steering.mirrored_record import MirroredRecord

    return MirroredRecord(record, options.recorder(args, config, found.entry.begin.get("retry_of")))


def _describe(plan: Mapping[str, Any]) -> None:
    """Write what goes on to standard error: gates run commands on this machine."""
    from collective.clients.plan_summary import call_line, step_lines

    notice(f"run: {call_line(plan['call'], plan['nodes'])}, begun by {escape_controls(plan['caller'])}")
    for line in step_lines(plan["call"]):
        notice(f"run: {line}")


def _warn(outcomes: Outcomes) -> None:
    """Write which nodes cannot tell what became of a request, and why."""
    for name in sorted(outcomes.failed):
        notice(f"{name}: cannot tell what became of the request: {outcomes.replies[name].statusmsg}")
