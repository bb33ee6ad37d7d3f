"""Ask data functions, each in a process of its own with a deadline: for filters, and for rpcutil's get_data.

filters.matches ─► FilterQuestions(function, query) ─┐
rpcutil get_data ────────────────────────────────────┴► DataAnswers.ask ─► runner ─► answer, checked by its DDL
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
from collective.node.actions.monitor import ActionJob
from collective.node.actions.runner import Runner
from collective.node.facts import Facts
from collective.node.plugins import loading
from collective.node.plugins.agents import INSIDE
from collective.node.plugins.plugin_set import Plugins

log = logging.getLogger(__name__)

FILTER_SECONDS = 10.0  # that all data functions of one filter may take together
_ERRORS: Mapping[int, type[RPCError]] = {1: Aborted, 2: UnknownAction, 3: MissingInput, 4: InvalidInput}


class DataQueries:
    """Asks the data functions of one set of plugins; any number of threads may do so at once."""

    def __init__(self, plugins: Plugins, runner: Runner, facts: Facts) -> None:
        self._plugins = plugins
        self._runner = runner
        self._facts = facts

    def ask(self, name: str, query: str, caller: str, seconds: float) -> dict[str, Any]:
        """Return what the function `name` answers within its own time, and `seconds`.

        Raises UnknownAction when there is no such function, InvalidInput for a query that its DDL refuses, and what
        the function raises; Failed when it has no answer.
        """
        function = self._plugins.data.find(name)
        checked = function.ddl.check_input({"query": query})
        seconds = min(seconds, function.ddl.timeout)
        if seconds <= 0:
            raise Failed(f"{data_ddl.AGENT} {name}: there is no time left to ask", reason="timeout")
        available = {
            "settings": function.settings,
            "caller": caller,
            "facts": self._facts.current,
            "agents": {agent: dict(found.ddl.metadata) for agent, found in self._plugins.agents.items()},
            "deadline": time.monotonic() + seconds,
        }
        supplied = loading.supplied(function.function, available)
        job = ActionJob(str(function.path), name, checked, supplied, code=function.code)
        answer = self._runner.run(job, seconds)
        if answer.statuscode:
            error = _ERRORS.get(answer.statuscode, Failed)
            raise error(f"{data_ddl.AGENT} {name}: {answer.statusmsg}", reason=answer.reason)
        return function.ddl.check_output(answer.data)


class FilterQuestions:
    """What `filters.matches` asks for one request, within `seconds`; `faults` say why there were no answers."""

    def __init__(self, answers: DataQueries, caller: str, seconds: float) -> None:
        self._answers = answers
        self._caller = caller
        self._until = time.monotonic() + min(seconds, FILTER_SECONDS)
        self.problems: list[str] = []

    def __call__(self, function: str, query: str) -> dict[str, Any] | None:
        """Return the function's answer; None, which makes the filter false, when there is none."""
        try:
            return self._answers.ask(function, query, self._caller, self._until - time.monotonic())
        except RPCError as exc:
            log.info("data.failed", extra={"function": function, "error": str(exc)})
            self.problems.append(str(exc))
            return None


def questions(request: Request, asked: Filter) -> list[tuple[str, str]]:
    """Return the (function, query) pairs that a request needs the policy's leave for: its filter's, and get_data's."""
    pairs_asked = uses_data(asked)
    if (request.agent, request.action) == (INSIDE, "get_data"):
        pairs_asked.append((str(request.data.get("source")), str(request.data.get("query"))))
    return pairs_asked
