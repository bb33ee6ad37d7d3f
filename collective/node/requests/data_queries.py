"""Query data functions, each in its own process with a deadline: for filters, and for rpcutil's get_data.

filters.matches ─► FilterQueries(function, query) ─┐
rpcutil get_data ──────────────────────────────────┴► DataQueries.query ─► runner ─► output, checked by its DDL
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from collective import data_ddl
from collective.errors import Aborted, Failed, InvalidInput, MissingInput, RPCError, UnknownAction
from collective.filters import Filter, uses_data
from collective.messages import Request
from collective.node.actions.job import TIMEOUT, ActionJob, ProgramCall
from collective.node.actions.runner import Runner
from collective.node.facts import Facts
from collective.node.plugins import loading
from collective.node.plugins.agents import RPCUTIL
from collective.node.plugins.plugin_set import Plugins

log = logging.getLogger(__name__)

GET_DATA = "get_data"  # the action of rpcutil that queries a data function
FILTER_SECONDS = 10.0  # the most that all data functions of one filter may take together
_ERRORS: Mapping[int, type[RPCError]] = {1: Aborted, 2: UnknownAction, 3: MissingInput, 4: InvalidInput}


class DataQueries:
    """Queries the data functions of one set of plugins; safe for any number of threads."""

    def __init__(self, plugins: Plugins, runner: Runner, facts: Facts) -> None:
        self._plugins = plugins
        self._runner = runner
        self._facts = facts

    def query(self, name: str, query: str, caller: str, timeout: float) -> dict[str, Any]:
        """Return what the function `name` returns within its own timeout and `timeout` seconds.

        Raises UnknownAction if there is no such function, InvalidInput for a query that its DDL refuses, Failed if
        it does not return, and whatever error the function raises.
        """
        function = self._plugins.data.find(name)
        checked = function.ddl.check_input({"query": query})
        timeout = min(timeout, function.ddl.timeout)
        if timeout <= 0:
            raise Failed(f"{data_ddl.AGENT} {name}: no time left for the query", reason=TIMEOUT)
        available = {
            "settings": function.settings,
            "caller": caller,
            "facts": self._facts.current,
            "agents": {agent: dict(found.ddl.metadata) for agent, found in self._plugins.agents.items()},
            "deadline": time.monotonic() + timeout,
        }
        supplied = loading.supplied(function.function, available)
        job = ActionJob(str(function.path), name, checked, supplied, code=function.code, modules=function.modules)
        if program := function.program:
            members = {"agent": data_ddl.AGENT, "callerid": caller}
            call = ProgramCall(program.convention, program.file, members, function.settings, self._facts.current)
            job = job._replace(program=call)
        result = self._runner.run(job, timeout)
        if result.statuscode:
            error = _ERRORS.get(result.statuscode, Failed)
            raise error(f"{data_ddl.AGENT} {name}: {result.statusmsg}", reason=result.reason)
        return function.ddl.check_output(result.data)


class FilterQueries:
    """The data functions as `filters.matches` calls them for one request, for at most `timeout` seconds in all.

    `problems` are the errors of queries that failed, one line each.
    """

    def __init__(self, queries: DataQueries, caller: str, timeout: float) -> None:
        self._queries = queries
        self._caller = caller
        self._deadline = time.monotonic() + min(timeout, FILTER_SECONDS)
        self.problems: list[str] = []

    def __call__(self, function: str, query: str) -> dict[str, Any] | None:
        """Return the function's output, or None if the query failed: then the whole filter does not match."""
        try:
            return self._queries.query(function, query, self._caller, self._deadline - time.monotonic())
        except RPCError as error:
            log.info("data.failed", extra={"function": function, "error": str(error)})
            self.problems.append(str(error))
            return None


def queries_of(request: Request, parsed: Filter) -> list[tuple[str, str]]:
    """Return the (function, query) pairs that a request needs permission for: its filter's, and get_data's."""
    pairs = uses_data(parsed)
    if (request.agent, request.action) == (RPCUTIL, GET_DATA):
        pairs.append((str(request.data.get("source")), str(request.data.get("query"))))
    return pairs
