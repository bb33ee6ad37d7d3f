"""Call the action of an admitted request, and check its result; requests and background jobs use it."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from collective.errors import RPCError
from collective.log_limiter import LogLimiter
from collective.node.actions.job import CRASHED, ActionJob, ActionResult, ProgramCall, failed_result
from collective.node.actions.runner import Runner
from collective.node.facts import Facts
from collective.node.jobs.running_requests import RunningRequests
from collective.node.plugins.agents import FACTS, INSIDE
from collective.node.plugins.programs import ActionProgram
from collective.node.requests.context import AdmittedRequest
from collective.node_info import NodeInfo

log = logging.getLogger(__name__)


class ActionCaller:
    """Calls actions: rpcutil's in this process, so that a busy node still answers, all others through `runner`."""

    def __init__(self, runner: Runner, facts: Facts, node: NodeInfo, running: RunningRequests) -> None:
        self._runner = runner
        self._running = running
        self._facts = facts
        self._node = node
        self._log_limiter = LogLimiter()

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
        """Call the action with at most `timeout` seconds, and return its checked result; errors are raised."""
        result = self._call(admitted, timeout)
        if result.statuscode:
            return result
        # A dry run has no outputs that only a real run produces, such as an exit code.
        data = admitted.action.check_output(result.data, complete=not admitted.request.dry_run)
        self._report_undeclared(admitted, data)
        return result._replace(data=data)

    def _call(self, admitted: AdmittedRequest, timeout: float) -> ActionResult:
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

    def _report_undeclared(self, admitted: AdmittedRequest, data: Mapping[str, Any]) -> None:
        """Log outputs that the DDL does not have: the reply contains them, but no caller knows what they are."""
        undeclared = admitted.action.undeclared(data)
        if undeclared and self._log_limiter.allows():
            extra = {"agent": admitted.agent.name, "action": admitted.action.name, "outputs": undeclared[:20]}
            log.warning("action.undeclared_outputs", extra=extra)

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


def raised_result(admitted: AdmittedRequest, error: Exception) -> ActionResult:
    """Return the result of a request whose execution raised `error`; log an error of the node itself."""
    if isinstance(error, RPCError):
        return ActionResult(error.statuscode, str(error), error.reason, error.data)
    names = {"agent": admitted.agent.name, "action": admitted.action.name}
    log.error("node.internal_error", exc_info=error, extra=names)
    return failed_result(f"{type(error).__name__}: {error}", reason=CRASHED)
