"""Follow jobs of the shell agent: show what each says, line by line, until all have ended.

    started ─► round: ask each node for its job's output from the offsets on ─► its new lines ─► … ─► ended
                 └── so many rounds without an answer ──► silent

Ctrl-C once ends the jobs, and what they still say is shown; twice leaves them alone. Who leaves or loses his network
has lost nothing: jobs go on, and keep what they say (`crpc shell list`, `crpc shell status`).
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from collective.clients.render.formatting import clean_line, write
from collective.clients.results import interruptible, print_missing
from collective.errors import TransportError
from collective.exit_codes import FAILED, NO_NODES, OK, SILENT, STOPPED
from collective.fleet.targets import Targets
from collective.nodesets import fold
from collective.parallel import in_parallel

if TYPE_CHECKING:
    from collective.fleet.call import Call
    from collective.fleet.fleet import Fleet
    from collective.messages import Reply

_PATIENCE = 15.0  # seconds that a node has to answer a question about its job
_MOST_MISSED = 4  # rounds in a row that a node may miss
_SHORTEST, _LONGEST = 0.5, 5.0  # seconds between two rounds: the longer the less is said
_STREAMS = ("stdout", "stderr")
_WORST_FIRST = (STOPPED, FAILED, SILENT, NO_NODES, OK)

# Asks a node about its job, with an action of the shell agent and its inputs; returns nothing when there is no answer.
Ask = Callable[[str, str, Mapping[str, Any]], "Reply | None"]
Show = Callable[[str, str, str], None]  # what to do with a line: node, stream, text


class TailedJob:
    """One node's job. `end` says how it ended, in words; it is empty until then. `exitcode` is None when unknown."""

    def __init__(self, node: str, handle: str) -> None:
        self.node = node
        self.handle = handle
        self.end = ""
        self.exitcode: int | None = None
        self.missed = 0
        self._offsets = dict.fromkeys(_STREAMS, 0)
        self._rests = dict.fromkeys(_STREAMS, "")  # of lines that are not complete

    @property
    def question(self) -> dict[str, Any]:
        """What to ask `status` for next."""
        return {"handle": self.handle, **{f"{name}_offset": offset for name, offset in self._offsets.items()}}

    def take(self, reply: Reply | None) -> list[tuple[str, str]]:
        """Take an answer, or that there was none; return the lines that are complete now, each with its stream."""
        if reply is None:
            self.missed += 1
            self.end = "no response" if self.missed >= _MOST_MISSED else ""
            return []
        self.missed = 0
        if not reply.ok:
            self.end = reply.statusmsg
            return []
        return self._read(reply.data)

    def _read(self, data: Mapping[str, Any]) -> list[tuple[str, str]]:
        lines, more = [], False
        for name in _STREAMS:
            *complete, self._rests[name] = (self._rests[name] + data[name]).split("\n")
            lines += [(name, line) for line in complete]
            more |= data[f"{name}_offset"] != self._offsets[name]
            self._offsets[name] = data[f"{name}_offset"]
        if data["status"] in ("stopped", "failed") and not more:
            self.exitcode = data.get("exitcode")
            self.end = f"ended with exit code {self.exitcode}"
            lines += [(name, rest) for name, rest in self._rests.items() if rest]
        return lines


def follow(call: Call, fleet: Fleet) -> int:
    """Wait for the replies of `shell start` in `call`, follow the jobs, and return the exit code of it all."""
    outcomes = call.wait()
    for node in outcomes.failed:
        sys.stderr.write(f"crpc: {clean_line(node)}: {clean_line(outcomes.replies[node].statusmsg)}\n")
    jobs = [TailedJob(node, outcomes.replies[node].data["handle"]) for node in outcomes.ok]
    print_missing(call, fleet)

    def ask(node: str, action: str, data: Mapping[str, Any]) -> Reply | None:
        try:
            asked = fleet.call("shell", action, data, targets=Targets(nodes=[node]), timeout=_PATIENCE)
            return asked.wait().replies.get(node)
        except TransportError:
            return None

    code = _followed_or_killed(jobs, ask)
    _tell_ends(jobs, outcomes.silent)
    codes = {code, outcomes.exit_code(), _exit_code(jobs)}
    return next(worst for worst in _WORST_FIRST if worst in codes)


def _followed_or_killed(jobs: Sequence[TailedJob], ask: Ask) -> int:
    with interruptible():
        try:
            rounds(jobs, ask, _print)
            return 0
        except KeyboardInterrupt:
            sys.stderr.write("crpc: interrupted: the jobs are being ended; Ctrl-C once more leaves them alone\n")
            _kill(jobs, ask)
            rounds(jobs, ask, _print)
            return STOPPED


def rounds(jobs: Sequence[TailedJob], ask: Ask, show: Show, wait: Callable[[float], None] = time.sleep) -> None:
    """Ask about the jobs that have not ended, and show their lines, until all have; `wait` takes seconds."""
    pause = _SHORTEST
    while running := {job.node: job for job in jobs if not job.end}:
        answers = in_parallel(lambda node: ask(node, "status", running[node].question), list(running))
        news = False
        for job, answer in zip(running.values(), answers, strict=True):
            for stream, line in job.take(answer):
                show(job.node, stream, line)
                news = True
        pause = _SHORTEST if news else min(pause * 1.5, _LONGEST)
        if not all(job.end for job in jobs):
            wait(pause)


def _kill(jobs: Sequence[TailedJob], ask: Ask) -> None:
    handles = {job.node: job.handle for job in jobs if not job.end}
    in_parallel(lambda node: ask(node, "kill", {"handle": handles[node]}), list(handles))


def _print(node: str, stream: str, line: str) -> None:
    to = sys.stdout if stream == "stdout" else sys.stderr
    write(to, f"{node}: {clean_line(line)}\n")
    to.flush()


def _tell_ends(jobs: Sequence[TailedJob], silent: Sequence[str]) -> None:
    """Say how those jobs ended that did not end well, alike ones together."""
    ends = defaultdict(list, {"no response": list(silent)} if silent else {})
    for job in jobs:
        if job.exitcode != 0:
            ends[job.end].append(job.node)
    for end, nodes in ends.items():
        sys.stderr.write(f"crpc: {fold(nodes)}: {clean_line(end)}\n")


def _exit_code(jobs: Sequence[TailedJob]) -> int:
    if any(job.exitcode != 0 and job.missed < _MOST_MISSED for job in jobs):
        return FAILED
    return SILENT if any(job.missed >= _MOST_MISSED for job in jobs) else 0
