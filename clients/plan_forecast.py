"""What nodes would probably answer to a planned call: by copies of their policies, and by a dry run.

The registry has the digest of each node's policy: a file with that digest is the policy of the node, and says what the
node would decide. In a dry run the nodes themselves are asked.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective.exit_codes import FAILED, OK, SILENT
from collective.nodesets import fold
from collective.text import escape_controls, plural

if TYPE_CHECKING:
    from collective.fleet.fleet import Fleet
    from collective.fleet.plan import CallPlan
    from collective.fleet.plan_policies import PolicyForecast
    from collective.messages import Reply


@dataclass(frozen=True)
class DryRunForecast:
    """The nodes that would change, those that would not, those that do not say, and those on which it fails."""

    changed: Sequence[str]
    unchanged: Sequence[str]
    unsaid: Sequence[str]
    failed: Mapping[str, str]
    silent: Sequence[str]

    def lines(self) -> list[str]:
        """Return the lines of a plan."""
        groups = {
            "would change": self.changed,
            "would not change": self.unchanged,
            "do not say whether they would change": self.unsaid,
            "no reply to the dry run": self.silent,
        }
        counted = [f"  {name}: {plural(len(nodes), 'node')} ({fold(nodes)})" for name, nodes in groups.items() if nodes]
        return [*counted, *reason_lines("would fail", self.failed)]


@dataclass(frozen=True)
class PlanForecast:
    """What is known about the replies to a planned call; None: was not asked for."""

    policy: PolicyForecast | None = None
    dry_run: DryRunForecast | None = None

    @property
    def exit_code(self) -> int:
        """FAILED when a node would refuse or fail, SILENT when one did not answer the dry run."""
        if (self.policy and self.policy.denied) or (self.dry_run and self.dry_run.failed):
            return FAILED
        return SILENT if self.dry_run and self.dry_run.silent else OK

    def document(self) -> dict[str, Any]:
        """Return the members of the JSON document of a plan."""
        return {
            "policy": None if self.policy is None else vars(self.policy),
            "dry_run": None if self.dry_run is None else vars(self.dry_run),
        }

    def text(self) -> str:
        """Return the lines of the text form of a plan."""
        lines = [] if self.dry_run is None else self.dry_run.lines()
        if self.policy:
            lines += reason_lines("would refuse", self.policy.denied)
            lines += reason_lines("decision not known", self.policy.unknown)
        return "".join(f"{escape_controls(line)}\n" for line in lines)


def forecast(plan: CallPlan, fleet: Fleet, policies: Iterable[Path], *, dry_run: bool) -> PlanForecast:
    """Return what the files `policies` say about a plan, and with `dry_run` what its nodes say.

    Raises PolicyError, ConfigError, NoDryRun, and what `Fleet.call` raises.
    """
    files = list(policies)
    said = _by_policies(plan, fleet, files) if files else None
    return PlanForecast(said, _by_dry_run(plan, fleet) if dry_run and plan.nodes else None)


def reason_lines(what: str, reasons: Mapping[str, str]) -> list[str]:
    """Return one line for each reason, with the nodes folded."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        by_reason.setdefault(reason, []).append(name)
    return [f"  {what}: {fold(names)} ({reason})" for reason, names in by_reason.items()]


def _by_policies(plan: CallPlan, fleet: Fleet, paths: Iterable[Path]) -> PolicyForecast:
    from collective import policy
    from collective.fleet.plan_policies import policy_forecast

    policies = [policy.read(path) for path in paths]
    return policy_forecast(plan, fleet.records(), policies, fleet.config.caller, time.time())


def _by_dry_run(plan: CallPlan, fleet: Fleet) -> DryRunForecast:
    from collective.fleet.targets import Targets

    action = plan.action
    call = fleet.call(
        action.reference,
        action.name,
        plan.data,
        targets=Targets(nodes=plan.nodes),
        timeout=plan.timeout,
        reason=plan.reason,
        dry_run=True,
    )
    outcomes = call.wait()
    said = {node: reply.data.get("changed") for node, reply in outcomes.replies.items() if reply.ok}
    return DryRunForecast(
        changed=sorted(node for node, changed in said.items() if changed is True),
        unchanged=sorted(node for node, changed in said.items() if changed is False),
        unsaid=sorted(node for node, changed in said.items() if not isinstance(changed, bool)),
        failed={node: _why(reply) for node, reply in sorted(outcomes.replies.items()) if not reply.ok},
        silent=outcomes.silent,
    )


def _why(reply: Reply) -> str:
    return reply.statusmsg or str(reply.reason)
