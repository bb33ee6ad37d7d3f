"""Write to the audit log what the node decided about a request."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from collective.errors import Failed
from collective.masking import MASK
from collective.node.requests.context import RequestContext
from collective.node.requests.reasons import Reason
from collective.node.requests.refusal_budget import PERIOD
from collective.node.storage.audit_log import AuditLog

log = logging.getLogger(__name__)

REFUSED_ENVELOPE = 64 * 1024  # characters of the largest payload of a refused request that is kept


class DecisionAudit:
    """Audits decisions, with the secrets of inputs masked."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit

    def allowed(self, context: RequestContext) -> None:
        """Write that the request's action runs now. Raise Failed if that cannot be written: then it must not run."""
        self._write(context, Reason.PASSED)

    def refused(self, context: RequestContext, reason: Reason) -> None:
        """Write that the request is refused; an error is only logged, because nothing runs."""
        try:
            self._write(context, reason)
        except Failed as error:
            log.error("audit.failed", extra={"error": str(error)})

    def limited(self, caller: str) -> None:
        """Write that further refusals of a caller leave no trace for a while."""
        try:
            self._audit.limited(caller, PERIOD)
        except Failed as error:
            log.error("audit.failed", extra={"error": str(error)})

    def _write(self, context: RequestContext, reason: Reason) -> None:
        request = context.request
        action = context.plugins.agents.action(request.agent, request.action)
        # Only a DDL says which inputs are secret: without one, all are masked.
        data: Mapping[str, object] = action.masked(request.data) if action else dict.fromkeys(request.data, MASK)
        large = reason.limited and len(context.envelope.payload) > REFUSED_ENVELOPE
        self._audit.decision(
            request,
            context.digest,
            data,
            str(reason.verdict),
            context.rule,
            asks=context.queries,
            approvers=context.approvers,
            job=context.job_step,
            fingerprint=context.fingerprint,
            skew=context.skew,
            envelope=None if context.has_secrets or large else context.envelope,
        )
