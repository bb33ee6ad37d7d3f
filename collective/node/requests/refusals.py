"""Conclude requests that end before their action runs: audit, count, and reply or stay silent, as the reason says."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from collective.errors import MessageError
from collective.log_limiter import LogLimiter
from collective.node.actions.job import ActionResult
from collective.node.requests.context import RequestContext
from collective.node.requests.counters import Counters
from collective.node.requests.decision_audit import DecisionAudit
from collective.node.requests.duplicate_counter import DuplicateCounter
from collective.node.requests.pools import RequestPools
from collective.node.requests.reasons import Reason, Refused
from collective.node.requests.refusal_budget import RefusalBudget
from collective.node.requests.replies import Replies
from collective.node.storage.journal import Journal, noting

log = logging.getLogger(__name__)


class Refusals:
    """Concludes refused requests; safe for any number of threads. `stopping` is set when the node stops."""

    def __init__(
        self,
        audit: DecisionAudit,
        journal: Journal,
        replies: Replies,
        pools: RequestPools,
        counters: Counters,
        stopping: threading.Event,
    ) -> None:
        self._audit = audit
        self._journal = journal
        self._replies = replies
        self._pools = pools
        self._counters = counters
        self._stopping = stopping
        self.budget = RefusalBudget()
        self._repeated = DuplicateCounter()  # of refused requests without an entry in the journal
        self._log_limiter = LogLimiter()  # anyone who can write to the queue can send garbage

    def drop(self, error: MessageError) -> None:
        """Count a message that is not a valid request, and log it now and then."""
        so_far = self._counters.add(Reason.UNVALIDATED.counter)
        if self._log_limiter.allows():
            log.warning("request.dropped", extra={"error": str(error), "so_far": so_far})

    @contextmanager
    def handling(self, context: RequestContext) -> Iterator[None]:
        """Conclude the request if a step below raises Refused, or anything else, which is an internal error."""
        try:
            yield
        except Refused as refused:
            self._conclude(context, refused)
        except Exception:
            if self._stopping.is_set():
                self._counters.add(Reason.INTERNAL_ERROR.counter)
                raise  # what the step needs is being closed: the next daemon handles the request
            log.exception("node.internal_error", extra={"request": context.request.id})
            self._conclude(context, Refused(Reason.INTERNAL_ERROR, "internal error: the node's log has the details"))

    def _conclude(self, context: RequestContext, refused: Refused) -> None:
        reason = refused.reason
        if reason.limited and self._exceeds_limits(context):
            self._counters.add(reason.counter)
            return
        if reason.audited.applies(named=context.named):
            self._audit.refused(context, reason)
        self._counters.add(reason.counter)
        if not reason.answered.applies(named=context.named):
            self._end_silently(context)
        elif context.first is not None:
            self._pools.run_quick(self._replies.repeat, context.first)
        else:
            result = ActionResult(reason.statuscode or 0, str(refused), reason.reply_reason)
            self._pools.run_quick(self._replies.conclude, context, result, 0.0)

    def _exceeds_limits(self, context: RequestContext) -> bool:
        """Return whether too many requests of the caller were refused lately: then this one leaves no trace."""
        if not context.journaled and not self._repeated.add(context.digest):
            return True
        exceeded = self.budget.exceeded(context.request.caller)
        if exceeded == 1:
            self._audit.limited(context.request.caller)
        return exceeded > 0

    def _end_silently(self, context: RequestContext) -> None:
        if context.journaled:
            with noting():
                self._journal.done(context.request.id)
