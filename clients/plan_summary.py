"""Read a saved plan, and describe it in lines of text before it is applied or approved.

shell run command=uptime on 2 nodes (web[1-2])
  before: service stop service=app
  gate: cmd:./check.sh
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective.clients.render.formatting import in_words
from collective.durations import in_words as in_time
from collective.errors import UsageError
from collective.nodesets import fold_any
from collective.text import escape_controls, plural

if TYPE_CHECKING:
    from collective.config import ClientConfig
    from collective.fleet.request_folder import RequestFolder


def call_line(document: Mapping[str, Any], nodes: Sequence[str]) -> str:
    """Return the action of a saved plan with its inputs, and the nodes."""
    return escape_controls(f"{_call(document)} on {plural(len(nodes), 'node')} ({fold_any(nodes)})")


def step_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for the time of a job, and for each hook and gate of a saved plan."""
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


def find_plan(word: str, config: ClientConfig) -> Path:
    """Return the path of a saved plan: a file, or a request by its ID or the beginning of it. Raises UsageError."""
    from collective.fleet.request_folder import is_id

    path = Path(word)
    if path.exists() or not is_id(word):
        return path
    return request_folder(config).find(word)


def request_folder(config: ClientConfig) -> RequestFolder:
    """Return the folder of requests that wait for approvals."""
    from collective.fleet.request_folder import RequestFolder

    return RequestFolder(config.requests or config.state / "requests")


def expires(document: Mapping[str, Any]) -> float:
    """Return when the approvals of a saved plan expire, in Unix seconds; 0 if its document cannot be read."""
    from collective.fleet.approvals import read_document

    try:
        return float(read_document(document["approval"]["document"])["expires"])
    except UsageError:
        return 0.0


def read_plan(path: Path, config: ClientConfig) -> dict[str, Any]:
    """Return the document of a saved plan; raise UsageError if it cannot be read, or is for another collective."""
    from collective.fleet.plan import read_saved

    document = read_saved(path)
    if document["collective"] != config.collective:
        raise UsageError(f"{path}: the plan is for '{document['collective']}', not '{config.collective}' (use -T)")
    return document
