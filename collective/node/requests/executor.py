"""Execute an admitted request: audit it, mark it as started, run its action, check the result, and reply."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from collective.errors import RPCError
from collective.log_limiter import LogLimiter
from collective.node.actions.job import CRASHED, ActionJob, ActionResult, ProgramCall, failed_result
from collective.node.actions.runner import Runner
from collective.node.facts import Facts
from collective.node.jobs.orders import Orders
from collective.node.jobs.running_requests import RunningRequests
from collective.node.plugins.agents import FACTS, INSIDE
from collective.node.plugins.programs import ActionProgram
from collective.node.requests.context import AdmittedRequest
from collective.node.requests.counters import Statistics
from collective.node.requests.decision_audit import DecisionAudit
from collective.node.requests.reasons import Reason
from collective.node.requests.replies import Replies
from collective.node.storage.journal import Journal
from collective.node_info import NodeInfo

log = logging.getLogger(__name__)

# Outcomes by status code, for results without a reason.
_OUTCOMES = {0: "ok", 1: "aborted", 2: "unknown", 3: "missing", 4: "invalid", 5: "failed"}


class ActionCaller:
    """Calls actions: rpcutil's in this process, so that a busy node still answers, all others through `runner`."""

    def __init__(self, runner: Runner, facts: Facts, node: NodeInfo, running: RunningRequests) -> None:
        self._runner = runner
        self._running = running
        self._facts = facts
        self._node = node

    @contextmanager
    def listed(self, admitted: AdmittedRequest) -> Iterator[None]:
        """List a request among those that run for the time of a block, in which it can be cancelled.

        Whether it may start is checked in this block: an order to stop that comes before is found by that check, a
        later one finds the request in the list.
        """
        if admitted.agent.name in INSIDE:  # these actions end at once
            yield
            return
        with self._runner.expected(admitted.context.digest), self._running.registered(admitted):
            yield

    def call(self, admitted: AdmittedRequest, timeout: float) -> ActionResult:
        """Call the action with at most `timeout` seconds, and return its unchecked result."""
        agent, action = admitted.agent, admitted.action
        available = {
            "settings": agent.settings,
            "caller": admitted.request.caller,
            "facts": self._facts.current,
            "deadline": time.monotonic() + timeout,
            "dry_run": admitted.request.dry_run,
        }
        if agent.name in INSIDE:
            supplied = agent.supplied(action.name, {**available, "node": self._node})
            return ActionResult(data=agent.functions[action.name](**admitted.data, **supplied))
        program = agent.programs.get(action.name)
        job = ActionJob(
            path=str(program.path if program else agent.path),
            action=action.name,
            data=admitted.data,
            supplied={} if program else agent.supplied(action.name, available),
            secrets=action.secret_texts(admitted.data),
            code=agent.code,
            token=admitted.context.digest,
            program=self._program_call(admitted, program) if program else None,
            modules=agent.modules,
        )
        result = self._runner.run(job, timeout)
        if agent.name == FACTS:
            self._facts.wake()
        return result

    def _program_call(self, admitted: AdmittedRequest, program: ActionProgram) -> ProgramCall:
        request = admitted.request
        members = {
            "agent": request.agent,
            "requestid": request.id,
            "senderid": request.sender,
            "callerid": request.caller,
            "collective": request.collective,
            "ttl": math.ceil(request.ttl),
            "msgtime": int(request.time),
        }
        if admitted.action.dry_run:
            members["dry_run"] = request.dry_run
        return ProgramCall(program.convention, program.file, members, admitted.agent.settings, self._facts.current)


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
        self._log_limiter = LogLimiter()

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
        except RPCError as error:
            return ActionResult(error.statuscode, str(error), error.reason, error.data)
        except Exception as error:
            log.exception("node.internal_error", extra={"agent": admitted.agent.name, "action": admitted.action.name})
            return failed_result(f"{type(error).__name__}: {error}", reason=CRASHED)

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
        result = self._caller.call(admitted, timeout)
        if result.statuscode:
            return result
        # A dry run has no outputs that only a real run produces, such as an exit code.
        data = admitted.action.check_output(result.data, complete=not admitted.request.dry_run)
        self._report_undeclared(admitted, data)
        return result._replace(data=data)

    def _report_undeclared(self, admitted: AdmittedRequest, data: Mapping[str, Any]) -> None:
        """Log outputs that the DDL does not have: the reply contains them, but no caller knows what they are."""
        undeclared = admitted.action.undeclared(data)
        if undeclared and self._log_limiter.allows():
            extra = {"agent": admitted.agent.name, "action": admitted.action.name, "outputs": undeclared[:20]}
            log.warning("action.undeclared_outputs", extra=extra)

    def _count(self, admitted: AdmittedRequest, result: ActionResult, seconds: float) -> None:
        action = (admitted.agent.name, admitted.action.name)
        self._statistics.durations.add(seconds, *action)
        self._statistics.outcomes.add((*action, result.reason or _OUTCOMES[result.statuscode]))
