"""Run Puppet on many nodes, a limited number at a time.

    status of all nodes ─► runs that are going on take a place each
         ▲                 free places ─► runonce on the next nodes
         └─── pause ◄───── until every node has ended

A node whose run does not end keeps its place until `run_timeout`, so that never more than N runs go on; the other
places serve the rest. A run that is going on already counts as the run of its node.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collective.messages import Reply

PAUSE = 2.0  # seconds between two rounds of status requests
MAX_MISSED = 5  # rounds in a row without a reply after which a node counts as silent
STARTING = 15.0  # seconds that a started run may take until it is seen, or has ended

# Calls an action of the agent puppet on nodes: (action, nodes). Returns the replies by node.
AskNodes = Callable[[str, Sequence[str]], Mapping[str, "Reply"]]


@dataclass
class PuppetRun:
    """The run of one node. `state` is waiting, running or ended; `end` says how it ended, `ok` whether well.

    `lastrun` is when the run before this one ended, in Unix seconds by the node's clock.
    """

    node: str
    state: str = "waiting"
    end: str = ""
    ok: bool = False
    silent: bool = False
    seen: bool = False
    began: float = 0.0
    lastrun: float = 0.0
    missed: int = 0

    def finish(self, end: str, *, ok: bool = False, silent: bool = False) -> None:
        """Note that the run of the node has ended."""
        self.state, self.end, self.ok, self.silent = "ended", end, ok, silent


class RunAll:
    """Runs Puppet on `nodes`, at most `places` at a time. `show` is called with each run that has ended.

    `clock` returns monotonic seconds; `run_timeout` is how many seconds a run may keep its place.
    """

    def __init__(
        self,
        ask: AskNodes,
        nodes: Iterable[str],
        places: int,
        show: Callable[[PuppetRun], None],
        run_timeout: float = 3600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._places = places
        self._show = show
        self._timeout = run_timeout
        self._clock = clock
        self.runs = {node: PuppetRun(node) for node in sorted(nodes)}

    @property
    def over(self) -> bool:
        """Whether every node has ended."""
        return not self._in("waiting", "running")

    def run(self, wait: Callable[[float], None] = time.sleep) -> None:
        """Run all nodes; `wait` takes seconds."""
        while not self.over:
            self.step()
            if not self.over:
                wait(PAUSE)

    def step(self) -> None:
        """Ask the nodes that have not ended for their state, and start runs in free places."""
        asked = self._in("waiting", "running")
        replies = self._ask("status", [one.node for one in asked])
        for one in asked:
            self._take(one, replies.get(one.node))
        self._start(self._in("waiting")[: max(0, self._places - len(self._in("running")))])

    def _in(self, *states: str) -> list[PuppetRun]:
        return [one for one in self.runs.values() if one.state in states]

    def _take(self, one: PuppetRun, reply: Reply | None) -> None:
        """Process a status reply, or None for a missing one."""
        age = self._clock() - one.began
        if one.state == "running" and age > self._timeout:
            self._end(one, f"still running after {age:.0f} s")
        elif reply is None:
            one.missed += 1
            # A silent node may be running: it keeps its place until the timeout.
            if one.missed >= MAX_MISSED and one.state == "waiting":
                self._end(one, "no response", silent=True)
        elif not reply.ok:
            self._end(one, reply.statusmsg)
        else:
            one.missed = 0
            self._progress(one, reply.data, age)

    def _progress(self, one: PuppetRun, data: Mapping[str, Any], age: float) -> None:
        if data["applying"]:
            if one.state == "waiting":
                one.state, one.began = "running", self._clock()
            one.seen = True
        elif one.state == "waiting":
            one.lastrun = data["lastrun"]
        elif one.seen or data["lastrun"] > one.lastrun or age > STARTING:
            self._end(one, "ended", ok=True)

    def _start(self, chosen: Sequence[PuppetRun]) -> None:
        """Start runs. A node without a reply may have started one, so it keeps the place."""
        if not chosen:
            return
        for one in chosen:
            one.state, one.began = "running", self._clock()
        replies = self._ask("runonce", [one.node for one in chosen])
        for one in chosen:
            reply = replies.get(one.node)
            if reply is not None and not reply.ok:
                self._end(one, reply.statusmsg)

    def _end(self, one: PuppetRun, end: str, *, ok: bool = False, silent: bool = False) -> None:
        one.finish(end, ok=ok, silent=silent)
        self._show(one)
