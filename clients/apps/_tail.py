"""Follow jobs of the shell agent: show the output of each, line by line, until all have ended.

    started ─► poll: ask all nodes at once for the output since the last offsets ─► new lines ─► … ─► ended
                 └── several polls in a row without a reply ──► no response

A poll is one request (`shell statuses`) with the handles of all jobs, so that many nodes are asked once a second.

The first Ctrl-C kills the jobs and shows the rest of their output; a second one leaves without waiting. Jobs do not
depend on the caller: after a lost connection, `crpc shell list` and `crpc shell status` find them and their output.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from collective.clients.missing_nodes import print_missing
from collective.clients.results import interruptible
from collective.clients.streams import notice, write
from collective.errors import TransportError
from collective.exit_codes import FAILED, NO_NODES, OK, SILENT, STOPPED
from collective.fleet.targets import Targets
from collective.nodesets import fold
from collective.parallel import in_parallel
from collective.text import escape_controls

if TYPE_CHECKING:
    from collective.fleet.call import Call
    from collective.fleet.fleet import Fleet
    from collective.messages import Reply

_REPLY_TIMEOUT = 15.0  # seconds
_MAX_MISSED = 4  # polls in a row without a reply until a node counts as silent
_MOST_JOBS = 500  # in one request, as long as its message can be published
_MIN_PAUSE, _MAX_PAUSE = 1.0, 5.0  # seconds between two polls; the pause grows while there is no output
_STREAMS = ("stdout", "stderr")
_WORST_FIRST = (STOPPED, FAILED, SILENT, NO_NODES, OK)

# Calls an action of the shell agent on nodes: (nodes, action, inputs). Returns the replies by node.
Request = Callable[[Sequence[str], str, Mapping[str, Any]], Mapping[str, "Reply"]]
Show = Callable[[str, str, str], None]  # shows a line: (node, stream, text)


class TailedJob:
    """The job of one node.

    `end` describes how the job ended and is empty while it runs. `exitcode` is None while it is unknown.
    """

    def __init__(self, node: str, handle: str) -> None:
        self.node = node
        self.handle = handle
        self.end = ""
        self.exitcode: int | None = None
        self.missed = 0
        self._offsets = dict.fromkeys(_STREAMS, 0)
        self._partial = dict.fromkeys(_STREAMS, "")  # the last line of each stream, still without its newline

    @property
    def progress(self) -> dict[str, Any]:
        """The handle and the offsets for the next `statuses` request."""
        return {"handle": self.handle, **{f"{name}_offset": offset for name, offset in self._offsets.items()}}

    def take(self, reply: Reply | None) -> list[tuple[str, str]]:
        """Process a `statuses` reply, or None for a missing one; return the lines it completes as (stream, text)."""
        if reply is None:
            self.missed += 1
            self.end = "no response" if self.missed >= _MAX_MISSED else ""
            return []
        self.missed = 0
        if not reply.ok:
            self.end = reply.statusmsg
            return []
        if self.handle not in reply.data["jobs"]:
            self.end = f"job '{self.handle}' does not exist on this node"
            return []
        return self._read(reply.data["jobs"][self.handle])

    def _read(self, data: Mapping[str, Any]) -> list[tuple[str, str]]:
        lines, more = [], False
        for name in _STREAMS:
            *complete, self._partial[name] = (self._partial[name] + data[name]).split("\n")
            lines += [(name, line) for line in complete]
            more |= data[f"{name}_offset"] != self._offsets[name]
            self._offsets[name] = data[f"{name}_offset"]
        if data["status"] in ("stopped", "failed") and not more:
            self.exitcode = data.get("exitcode")
            self.end = f"exited with code {self.exitcode}"
            lines += [(name, partial) for name, partial in self._partial.items() if partial]
        return lines


def follow(call: Call, fleet: Fleet) -> int:
    """Wait for the replies of `shell start` in `call`, follow the jobs, and return the exit code."""
    outcomes = call.wait()
    for node in outcomes.failed:
        notice(f"{node}: {outcomes.replies[node].statusmsg}")
    jobs = [TailedJob(node, outcomes.replies[node].data["handle"]) for node in outcomes.ok]
    print_missing(call, fleet)

    def request(nodes: Sequence[str], action: str, data: Mapping[str, Any]) -> Mapping[str, Reply]:
        try:
            asked = fleet.call("shell", action, data, targets=Targets(nodes=nodes), timeout=_REPLY_TIMEOUT)
            return asked.wait().replies
        except TransportError:
            return {}

    code = _poll_or_kill(jobs, request)
    _print_ends(jobs, outcomes.silent)
    codes = {code, outcomes.exit_code(), _exit_code(jobs)}
    return next(worst for worst in _WORST_FIRST if worst in codes)


def _poll_or_kill(jobs: Sequence[TailedJob], request: Request) -> int:
    with interruptible():
        try:
            poll(jobs, request, _print)
            return 0
        except KeyboardInterrupt:
            notice("interrupted: killing the jobs (press Ctrl-C again to leave without waiting)")
            _kill(jobs, request)
            poll(jobs, request, _print)
            return STOPPED


def poll(jobs: Sequence[TailedJob], request: Request, show: Show, wait: Callable[[float], None] = time.sleep) -> None:
    """Ask for the output of the running jobs and show it, until all have ended; `wait` takes seconds."""
    pause = _MIN_PAUSE
    while running := [job for job in jobs if not job.end]:
        output = False
        for first in range(0, len(running), _MOST_JOBS):
            part = running[first : first + _MOST_JOBS]
            replies = request([job.node for job in part], "statuses", {"jobs": [job.progress for job in part]})
            for job in part:
                for stream, line in job.take(replies.get(job.node)):
                    show(job.node, stream, line)
                    output = True
        pause = _MIN_PAUSE if output else min(pause * 1.5, _MAX_PAUSE)
        if not all(job.end for job in jobs):
            wait(pause)


def _kill(jobs: Sequence[TailedJob], request: Request) -> None:
    handles = {job.node: job.handle for job in jobs if not job.end}
    in_parallel(lambda node: request([node], "kill", {"handle": handles[node]}), list(handles))


def _print(node: str, stream: str, line: str) -> None:
    output = sys.stdout if stream == "stdout" else sys.stderr
    write(f"{node}: {escape_controls(line)}\n", output)
    output.flush()


def _print_ends(jobs: Sequence[TailedJob], silent: Sequence[str]) -> None:
    """Print how the jobs that did not succeed ended, with the nodes grouped by it."""
    ends = defaultdict(list, {"no response": list(silent)} if silent else {})
    for job in jobs:
        if job.exitcode != 0:
            ends[job.end].append(job.node)
    for end, nodes in ends.items():
        notice(f"{fold(nodes)}: {end}")


def _exit_code(jobs: Sequence[TailedJob]) -> int:
    if any(job.exitcode != 0 and job.missed < _MAX_MISSED for job in jobs):
        return FAILED
    return SILENT if any(job.missed >= _MAX_MISSED for job in jobs) else 0
