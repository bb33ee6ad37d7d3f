"""Check, after the policy, that the filter matches this node and that the action and its inputs are valid."""

from __future__ import annotations

from collections.abc import Callable

from collective.errors import InvalidInput, MessageError, MissingInput, UnknownAction
from collective.filters import Filter, matches
from collective.node.actions.runner import Runner
from collective.node.requests.context import AdmittedRequest, RequestContext
from collective.node.requests.data_queries import DataQueries, FilterQueries, queries_of
from collective.node.requests.reasons import Reason, Refused, refused_input
from collective.node.state import NodeState


class Admission:
    """Checks filters and inputs. `now` returns the server's time in Unix seconds."""

    def __init__(self, state: NodeState, runner: Runner, now: Callable[[], float]) -> None:
        self._state = state
        self._runner = runner
        self._now = now

    def read_filter(self, context: RequestContext) -> None:
        """Parse the request's filter and note its data queries. Raise Refused (INVALID_FILTER)."""
        try:
            context.filter = Filter.from_data(context.request.filter)
        except MessageError as error:
            raise Refused(Reason.INVALID_FILTER, f"invalid filter: {error}") from None
        context.queries = queries_of(context.request, context.filter)

    def check_filter(self, context: RequestContext) -> None:
        """Raise Refused (FILTERED) unless the filter matches; this may wait for data functions."""
        queries = DataQueries(context.plugins, self._runner, self._state.facts)
        data = FilterQueries(queries, context.request.caller, context.deadline - self._now())
        if not matches(context.filter, self._state.view(context.plugins), data):
            why = "".join(f": {problem}" for problem in data.problems[:1])
            raise Refused(Reason.FILTERED, f"the filter does not match this node{why}")

    def check_input(self, context: RequestContext) -> AdmittedRequest:
        """Return the request with its action and checked inputs. Raise Refused for what the DDL does not allow."""
        request = context.request
        try:
            agent, action = context.plugins.agents.find(request.agent, request.action)
            return AdmittedRequest(context, agent, action, action.check_input(request.data))
        except (UnknownAction, MissingInput, InvalidInput) as error:
            raise refused_input(error) from None
