"""Check, after the policy, that the filter matches this node and that the action and its inputs are valid."""

from __future__ import annotations

from collections.abc import Callable

from collective.errors import InvalidInput, MessageError, MissingInput, NoDryRun, UnknownAction
from collective.filters import Budget, Filter, matches, may_match
from collective.node.actions.runner import Runner
from collective.node.requests.context import AdmittedRequest, RequestContext
from collective.node.requests.data_queries import DataQueries, FilterQueries, queries_of
from collective.node.requests.reasons import Reason, Refused, refused_input
from collective.node.state import NodeState

_TOO_SLOW = "its regular expressions take too long (simplify them)"


class Admission:
    """Checks filters and inputs. `now` returns the server's time in Unix seconds."""

    def __init__(self, state: NodeState, runner: Runner, now: Callable[[], float]) -> None:
        self._state = state
        self._runner = runner
        self._now = now

    def read_filter(self, context: RequestContext) -> None:
        """Parse the request's filter and note its data queries. Raise Refused (NOT_EVALUATED)."""
        try:
            context.filter = Filter.from_data(context.request.filter)
        except MessageError as error:
            raise Refused(Reason.NOT_EVALUATED, f"invalid filter: {error}") from None
        context.queries = queries_of(context.request, context.filter)

    def check_filter(self, context: RequestContext) -> None:
        """Raise Refused unless the filter matches; this may wait for data functions.

        FILTERED if it does not match; NOT_EVALUATED if that is unknown. Data functions that cannot change the result
        are not run.
        """
        node, budget = self._state.view(context.plugins), Budget()
        possible = may_match(context.filter, node, budget=budget)
        data = self._queries(context)
        matching = possible and matches(context.filter, node, data, budget)
        problems = [*data.problems, *([_TOO_SLOW] if budget.spent else [])]
        if matching:
            return
        if problems:
            raise Refused(Reason.NOT_EVALUATED, f"the filter could not be evaluated: {problems[0]}")
        raise Refused(Reason.FILTERED, "the filter does not match this node")

    def _queries(self, context: RequestContext) -> FilterQueries:
        queries = DataQueries(context.plugins, self._runner, self._state.facts)
        return FilterQueries(queries, context.request.caller, context.deadline - self._now())

    def check_input(self, context: RequestContext) -> AdmittedRequest:
        """Return the request with its action and checked inputs. Raise Refused for what the DDL does not allow."""
        request = context.request
        try:
            agent, action = context.plugins.agents.find(request.agent, request.action)
            agent.ddl.require_version(request.demanded)
            if request.dry_run:
                action.require_dry_run()
            return AdmittedRequest(context, agent, action, action.check_input(request.data))
        except (UnknownAction, MissingInput, InvalidInput, NoDryRun) as error:
            raise refused_input(error) from None
