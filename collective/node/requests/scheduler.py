"""Schedule requests: each runs in the pool that fits what it waits for.

submit_filter ─► threads that wait for data functions: check the filter and the inputs, then submit
submit ────────► an action: threads for actions, fairly shared among agents
                 rpcutil get_data: threads that wait for data functions
                 rpcutil and control, all else: quick threads, so that a node busy with ten installs still answers ping
                 a job: quick threads, which only store it
"""

from __future__ import annotations

from collective.errors import InvalidInput
from collective.node.plugins.agents import INSIDE, PLUGINS, RPCUTIL
from collective.node.requests.admission import Admission
from collective.node.requests.context import AdmittedRequest, RequestContext
from collective.node.requests.counters import Statistics
from collective.node.requests.data_queries import GET_DATA
from collective.node.requests.executor import RequestExecutor
from collective.node.requests.pools import RequestPools
from collective.node.requests.reasons import Reason, refused_input
from collective.node.requests.refusals import Refusals


class Scheduler:
    """Has requests executed in `pools`. Both methods raise Refused (BUSY) if too many requests are waiting."""

    def __init__(
        self,
        pools: RequestPools,
        admission: Admission,
        executor: RequestExecutor,
        refusals: Refusals,
        statistics: Statistics,
    ) -> None:
        self._pools = pools
        self._admission = admission
        self._executor = executor
        self._refusals = refusals
        self._statistics = statistics

    def submit_filter(self, context: RequestContext) -> None:
        """Check a filter that queries data functions in a thread that may wait, then submit the request."""
        self._pools.run_query(context.request.agent, self._check_and_submit, context)

    def submit(self, admitted: AdmittedRequest) -> None:
        """Execute an admitted request when it is its turn."""
        agent, action = admitted.agent.name, admitted.action.name
        if admitted.request.job is not None:
            _check_job(admitted)
            self._pools.run_quick(self._executor.execute, admitted)
        elif agent not in INSIDE:
            self._pools.run_action(agent, self._executor.execute, admitted)
        elif (agent, action) == (RPCUTIL, GET_DATA) or agent == PLUGINS:
            self._pools.run_query(agent, self._executor.execute, admitted)
        else:
            self._pools.run_quick(self._executor.execute, admitted)
        self._statistics.requests.add(Reason.PASSED.counter)

    def _check_and_submit(self, context: RequestContext) -> None:
        with self._refusals.handling(context):
            self._admission.check_filter(context)
            self.submit(self._admission.check_input(context))


def _check_job(admitted: AdmittedRequest) -> None:
    """Refuse a job that asks the daemon itself: its answer is wanted now."""
    agent = admitted.agent.name
    if agent in INSIDE:
        raise refused_input(InvalidInput(f"actions of '{agent}' cannot run in the background"))
