"""Execute an admitted request: audit it, mark it as started, run its action, check the result, and reply."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from collective.node.actions.job import ActionResult, failed_result
from collective.node.jobs.orders import Orders
from collective.node.requests.action_caller import ActionCaller, raised_result
from collective.node.requests.context import AdmittedRequest
from collective.node.requests.counters import Statistics
from collective.node.requests.decision_audit import DecisionAudit
from collective.node.requests.reasons import Reason
from collective.node.requests.replies import Replies
from collective.node.storage.journal import Journal

# Outcomes by status code, for results without a reason.
_OUTCOMES = {0: "ok", 1: "aborted", 2: "unknown", 3: "missing", 4: "invalid", 5: "failed"}


class AcceptsJobs(Protocol):
    """Takes requests that run in the background."""

    def accept(self, admitted: AdmittedRequest) -> ActionResult:
        """Store a job, and return the result that says so. Raise Failed (`busy`) if it cannot be stored."""


class RequestExecutor:
    """Executes admitted requests; safe for any number of threads. `now` returns the server's time."""

    def __init__(
        self,
        caller: ActionCaller,
        audit: DecisionAudit,
        journal: Journal,
        replies: Replies,
        statistics: Statistics,
        orders: Orders,
        jobs: AcceptsJobs,
        now: Callable[[], float],
    ) -> None:
        self._orders = orders
        self._jobs = jobs
        self._caller = caller
        self._audit = audit
        self._journal = journal
        self._replies = replies
        self._statistics = statistics
        self._now = now

    def execute(self, admitted: AdmittedRequest) -> None:
        """Run the request's action and send its reply, unless another thread has started it."""
        started = time.monotonic()
        result = self._run(admitted)
        if result is None:
            return
        if not isinstance(result.data, dict):
            result = result._replace(data={})
        elapsed = time.monotonic() - started
        self._count(admitted, result, elapsed)
        self._replies.conclude(admitted.context, result, elapsed)

    def _run(self, admitted: AdmittedRequest) -> ActionResult | None:
        """Return the checked result of the action, or the failure to run it; None if it has been started before."""
        try:
            # What cannot be audited or noted in the journal must not run.
            self._audit.allowed(admitted.context)
            if not self._journal.start(admitted.request.id):
                return None
            return self._call(admitted)
        except Exception as error:
            return raised_result(admitted, error)

    def _call(self, admitted: AdmittedRequest) -> ActionResult:
        if admitted.request.job is not None:  # listed when it starts: its message has the same digest
            return self._orders.refusal(admitted) or self._jobs.accept(admitted)
        with self._caller.listed(admitted):
            return self._orders.refusal(admitted) or self._call_action(admitted)

    def _call_action(self, admitted: AdmittedRequest) -> ActionResult:
        timeout = min(admitted.action.timeout, admitted.context.deadline - self._now())
        if timeout <= 0:
            message = "the request was still queued when its caller timed out"
            return failed_result(message, reason=str(Reason.EXPIRED.reply_reason))
        return self._caller.call(admitted, timeout)

    def _count(self, admitted: AdmittedRequest, result: ActionResult, seconds: float) -> None:
        action = (admitted.agent.name, admitted.action.name)
        self._statistics.durations.add(seconds, *action)
        self._statistics.outcomes.add((*action, result.reason or _OUTCOMES[result.statuscode]))
