"""Ask the policy whether a request may be carried out."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from collective import data_ddl, signing
from collective.errors import Failed
from collective.messages import Request
from collective.node.requests.approvals import Approvals, ApprovalVerifier, approved_run
from collective.node.requests.caller_hours import CallerHours
from collective.node.requests.context import RequestContext
from collective.node.requests.reasons import Reason, Refused
from collective.node.state import NodeState
from collective.node.storage.call_history import ApprovalUses, CallHistory
from collective.node.storage.database import Database
from collective.policy import CallFacts, Decision, Question


class DecidingPolicy(Protocol):
    """A policy: `collective.policy.Policy`, or the current one of a file."""

    def decide(self, question: Question) -> Decision:
        """Return what the policy decides."""

    @property
    def limits_hours(self) -> bool:
        """Whether a rule limits the nodes of a caller's calls within an hour."""


class Authorizer:
    """Checks requests against a policy. Both methods raise Refused (DENIED), naming the rule that denies."""

    def __init__(
        self,
        policy: DecidingPolicy,
        state: NodeState,
        database: Database,
        now: Callable[[], float] = time.time,
        verify: signing.VerifyPayload = signing.accept_unsigned,
    ) -> None:
        """Read what was counted before from `database`. Raises Failed."""
        self._policy = policy
        self._approvals = ApprovalVerifier(verify)
        self._uses = ApprovalUses(database)
        self._state = state
        self._now = now
        self._hours = CallerHours(CallHistory(database))

    def authorize_action(self, context: RequestContext) -> None:
        """Check that the caller may call the action; note the rule that allows it."""
        self._authorize(context.request, context)

    def authorize_queries(self, context: RequestContext) -> None:
        """Check that the caller may query the data functions that the request queries."""
        for function, query in context.queries:
            self._authorize(_query_request(context.request, function, query), context)

    def _authorize(self, request: Request, context: RequestContext) -> None:
        action = context.plugins.agents.action(request.agent, request.action)
        data = action.with_defaults(request.data) if action else request.data
        view = self._state.view(context.plugins)
        call, known, dry_run = self._call_facts(request, context), context.plugins.inputs, request.dry_run
        question = Question(
            request.caller, request.agent, request.action, data, view, dry_run=dry_run, known=known, call=call
        )
        decision = self._policy.decide(question)
        if not decision.allow:
            context.rule = decision.rule
            what = f"{request.agent} {request.action}" + (" as a dry run" if request.dry_run else "")
            raise Refused(Reason.DENIED, f"'{request.caller}' may not call {what} here: {decision.why}")
        context.rule = context.rule or decision.rule
        self._count(context, call)

    def _count(self, context: RequestContext, call: CallFacts) -> None:
        """Count an allowed call; what cannot be counted must not run."""
        request, now = context.request, call.time or 0.0
        try:
            self._hours.add(request.caller, _call_key(request), call.targets or 0, now, keep=self._policy.limits_hours)
            if context.approvers:
                approved = approved_run(request)
                self._uses.add(approved.run, context.digest, approved.expires, now)
        except Failed as error:
            raise Refused(Reason.JOURNAL_UNAVAILABLE, str(error)) from None

    def _call_facts(self, request: Request, context: RequestContext) -> CallFacts:
        """Return what requirements are about; a request names its nodes, whatever it says about the whole call."""
        now = self._now()
        named = None if request.targets is None else max(len(request.targets), request.total or 0)
        earlier = self._hours.targets(request.caller, _call_key(context.request), now)
        approved = self._approved(context, now)
        context.approvers = approved.callers
        return CallFacts(
            request.reason or "", named, earlier + (named or 0), now, approved.callers, problem=approved.problem
        )

    def _approved(self, context: RequestContext, now: float) -> Approvals:
        """Return the valid approvals of a request; none if they were used before."""
        request = context.request
        found = self._approvals.approvals(request, context.fingerprint, now)
        if not found.callers:
            return found
        approved = approved_run(request)
        try:
            used_up = self._uses.is_used_up(approved.run, context.digest, approved.uses)
        except Failed as error:
            raise Refused(Reason.JOURNAL_UNAVAILABLE, str(error)) from None
        return Approvals(problem="the approvals have been used before") if used_up else found


def _call_key(request: Request) -> str:
    """Return what the requests of one call have in common: its waves and retries ask for the same.

    The run alone is what the caller says: different calls with the same run would count once.
    """
    asked = json.dumps([request.agent, request.action, request.data], sort_keys=True)
    return f"{request.run or request.id} {hashlib.sha256(asked.encode()).hexdigest()}"


def _query_request(request: Request, function: str, query: str) -> Request:
    """Return the question about a data function: a request for the action `function` of the agent `data`."""
    return replace(request, agent=data_ddl.AGENT, action=function, data={"query": query})
