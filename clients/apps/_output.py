"""Fetch the output of a command from the node that has it, in pieces that fit into replies."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from collective.clients.streams import notice, write_as_is
from collective.errors import NoNodes
from collective.exit_codes import FAILED, OK, SILENT
from collective.fleet.targets import Targets

if TYPE_CHECKING:
    from collective.fleet.fleet import Fleet

_STREAMS = ("stdout", "stderr")
_MAX_MISSED = 3  # requests in a row without a reply


def fetch(fleet: Fleet, handle: str, targets: Targets, timeout: float | None = None) -> int:
    """Print the output of the job `handle` so far; return the exit code. Raises NoNodes if no node has it."""
    job: dict[str, Any] = {"handle": handle}
    call = fleet.call("shell", "statuses", {"jobs": [job]}, targets=targets, timeout=timeout)
    found = {node: reply.data for node, reply in call.wait().replies.items() if reply.ok and reply.data["jobs"]}
    refused = [f"{node}: {reply.statusmsg}" for node, reply in call.outcomes.replies.items() if not reply.ok]
    for line in refused:
        notice(line)
    if not found:
        if refused or call.outcomes.silent:
            return FAILED if refused else SILENT
        raise NoNodes(f"no node has a job '{handle}'")
    node, data = next(iter(found.items()))
    return _fetch_rest(fleet, node, job, data["jobs"][handle], timeout)


def _fetch_rest(
    fleet: Fleet, node: str, job: dict[str, Any], progress: Mapping[str, Any], timeout: float | None
) -> int:
    missed = 0
    while True:
        more = _show(job, progress)
        if not more:
            return OK
        while True:
            call = fleet.call("shell", "statuses", {"jobs": [job]}, targets=Targets(nodes=[node]), timeout=timeout)
            reply = call.wait().replies.get(node)
            if reply is not None:
                break
            missed += 1
            if missed >= _MAX_MISSED:
                notice(f"{node}: no response, the output is incomplete")
                return SILENT
        if not reply.ok or job["handle"] not in reply.data["jobs"]:
            notice(f"{node}: the output is incomplete: {reply.statusmsg if not reply.ok else 'the job was removed'}")
            return FAILED
        missed, progress = 0, reply.data["jobs"][job["handle"]]


def _show(job: dict[str, Any], progress: Mapping[str, Any]) -> bool:
    """Print a piece of each stream, and note the offsets; return whether there was any."""
    more = False
    for name in _STREAMS:
        offset = f"{name}_offset"
        more |= progress[offset] != job.get(offset, 0)
        job[offset] = progress[offset]
        write_as_is(progress[name], sys.stdout if name == "stdout" else sys.stderr)
    return more
