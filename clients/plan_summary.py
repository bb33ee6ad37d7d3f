"""Read a saved plan, and describe it in lines of text before it is applied or approved.

shell run command=uptime on 2 nodes (web[1-2])
  before: service stop service=app
  gate: cmd:./check.sh
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective.clients.render.formatting import in_words
from collective.config import REQUESTS_AUTO, REQUESTS_LOCAL, REQUESTS_SHARED
from collective.durations import in_words as in_time
from collective.errors import UsageError
from collective.nodesets import fold_any
from collective.path_checks import may_exist
from collective.text import escape_controls, plural

if TYPE_CHECKING:
    from collective.config import ClientConfig
    from collective.fleet.request_store import RequestStore, StoredPlan


def call_line(document: Mapping[str, Any], nodes: Sequence[str]) -> str:
    """Return the action of a saved plan with its inputs, and the nodes."""
    return escape_controls(f"{_call(document)} on {plural(len(nodes), 'node')} ({fold_any(nodes)})")


def step_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for the reason, a filter that asks nodes, the time of a job, and each hook and gate of a plan."""
    from collective.filters import Filter, to_options, uses_data  # an ordinary call needs them when it is sent

    if document["reason"]:
        yield escape_controls(f"reason: {document['reason']}")
    wanted = Filter.from_data(document["targets"]["filter"])
    if uses_data(wanted):
        yield escape_controls(f"filter: {shlex.join(to_options(wanted))}")
    if document["background"]:
        yield job_line(document["background"])
    for name, hook in document["hooks"].items():
        yield escape_controls(f"{name}: {_call(hook)}")
    for gate in document["gates"]["gates"]:
        yield escape_controls(f"gate: {gate}")


def _call(step: Mapping[str, Any]) -> str:
    inputs = [f"{name}={in_words(value)}" for name, value in step["data"].items()]
    return " ".join([step["agent"], step["action"], *inputs])


def job_line(job: Mapping[str, Any]) -> str:
    """Return when nodes run an action as a job: `as a job in 30 minutes, on each node up to 10 minutes later`."""
    if job["start"] is not None:
        begin = f"at {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(job['start']))}"
    else:
        begin = f"in {in_time(job['delay'])}" if job["delay"] else "at once"
    splay = f", on each node up to {in_time(job['splay'])} later" if job["splay"] else ""
    return f"as a job {begin}{splay}"


def find_plan(word: str, config: ClientConfig) -> StoredPlan:
    """Return a saved plan in its place: a file, or a request by its ID or the beginning of it. Raises UsageError."""
    from collective.fleet.request_folder import PlanFile
    from collective.fleet.request_store import is_id

    path = Path(word)
    if may_exist(path) or not is_id(word):
        return PlanFile(path)
    return request_store(config).find(word)


def request_store(config: ClientConfig) -> RequestStore:
    """Return where requests wait for approvals: a folder, or the table of the collective. Raises ConfigError."""
    auto = config.requests == REQUESTS_AUTO
    if config.requests == REQUESTS_SHARED or (auto and config.registry == "dynamodb"):
        from collective.fleet.request_table import RequestTable

        return RequestTable.connect(config)
    from collective.fleet.request_folder import RequestFolder

    folder = config.state / "requests" if auto or config.requests == REQUESTS_LOCAL else config.requests
    return RequestFolder(folder)


def read_plan(place: StoredPlan, config: ClientConfig) -> dict[str, Any]:
    """Return the document of a saved plan; raise UsageError if it cannot be read, or is for another collective."""
    document = place.read()
    if document["collective"] != config.collective:
        raise UsageError(
            f"{place.where}: the plan is for '{document['collective']}', not '{config.collective}' (use -T)"
        )
    return document
