"""Decide whether a request may be done, and write down what was decided and how far the request came."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from collective.errors import Aborted, Failed
from collective.filters import Node
from collective.masking import MASK
from collective.messages import Envelope, Request
from collective.node.plugins.agents import LoadedAgents
from collective.node.plugins.plugin_set import Plugins
from collective.node.storage.audit_log import AuditLog
from collective.policy import Decision, Question

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NodeView:
    """What a filter sees of this node."""

    identity: str
    facts: Mapping[str, Any]
    classes: frozenset[str]
    agents: LoadedAgents


class Decides(Protocol):
    """A policy: `collective.policy.Policy`, or the one in force of a file."""

    def decide(self, question: Question) -> Decision:
        """Return what the policy says."""


@dataclass
class Stage:
    """How far a request has come: what the audit will say of it when it ends here.

    `plugins` are those that the request is judged by and run with, whatever the node loads meanwhile. `skew` is in
    seconds, `rule` what allowed or denied the request, `asks` the (function, query) pairs of data
    functions that it needs leave for.
    """

    envelope: Envelope
    plugins: Plugins
    skew: float
    fingerprint: str | None = None
    verdict: str = "refused"
    rule: str | None = None
    asks: list[tuple[str, str]] = field(default_factory=list)


class Decisions:
    """Asks the policy about requests, and audits them; `node` returns the node as rules see it, with some plugins."""

    def __init__(self, policy: Decides, audit: AuditLog, node: Callable[[Plugins], Node]) -> None:
        self._policy = policy
        self._audit = audit
        self._node = node

    def allow(self, request: Request, stage: Stage) -> None:
        """Note the rule that allows `request`; raise Aborted (`denied`) naming the one that does not."""
        action = stage.plugins.agents.action(request.agent, request.action)
        data = action.with_defaults(request.data) if action else request.data
        asked = Question(request.caller, request.agent, request.action, data, self._node(stage.plugins))
        decision = self._policy.decide(asked)
        if not decision.allow:
            stage.verdict, stage.rule = "denied", decision.rule
            what = f"{request.agent} {request.action}"
            raise Aborted(f"'{request.caller}' may not call {what} here: {decision.why}", reason="denied")
        stage.rule = stage.rule or decision.rule

    def record(self, request: Request, stage: Stage, verdict: str | None = None) -> None:
        """Audit a request as far as it has come; raise Failed when that cannot be written."""
        action = stage.plugins.agents.action(request.agent, request.action)
        # Without a DDL nobody knows what is secret, so no value is written.
        data: Mapping[str, object] = action.masked(request.data) if action else dict.fromkeys(request.data, MASK)
        secret = action is None or not action.secrets.isdisjoint(request.data)
        self._audit.decision(
            request,
            data,
            verdict or stage.verdict,
            stage.rule,
            asks=stage.asks,
            fingerprint=stage.fingerprint,
            skew=stage.skew,
            envelope=None if secret else stage.envelope,
        )

    def note(self, request: Request, stage: Stage, verdict: str | None = None) -> None:
        """Audit a request that is refused, whether or not that can be written."""
        try:
            self.record(request, stage, verdict)
        except Failed as error:
            log.error("audit.failed", extra={"error": str(error)})
