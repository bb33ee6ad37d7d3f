"""Perform admitted work: each piece waits for its turn, is audited, run, and its answer concluded.

    submit ─► lanes of actions ──► a process of its own (runner.py) ─┐
    consider ─► lanes of data ───► processes of data functions ──────┼─► replies
    answer ─► two threads of their own: rpcutil, refusals ───────────┘

`rpcutil` runs inside the daemon, so that a node busy with ten installs still answers `ping`. Whatever waits here is
bounded: beyond that a node is busy, or receives no further until there is room.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from collective import ddl
from collective.errors import Failed, RPCError
from collective.messages import Request
from collective.node.actions.monitor import ActionJob, ActionResult, failed
from collective.node.actions.runner import Runner
from collective.node.facts import Facts
from collective.node.plugins.agents import INSIDE, LoadedAgent
from collective.node.requests.counters import Counters, Durations
from collective.node.requests.fair_queue import FairQueue, Step
from collective.node.requests.replies import Replies

log = logging.getLogger(__name__)

ASKS_DATA = "get_data"  # the one action of rpcutil that waits for other processes
_ANSWER_THREADS = 2
_MOST_ANSWERS = 100  # that wait for those threads; each may hold a request of a megabyte
_DATA_THREADS = 4
_ENDING = 20.0  # seconds for interrupted work to be ended and answered


# By status code, where the answer has no reason.
_OUTCOMES = {0: "ok", 1: "aborted", 2: "unknown", 3: "missing", 4: "invalid", 5: "failed"}


@dataclass(frozen=True)
class Work:
    """An admitted request and what it takes to run it.

    `begin` writes down that it is run now and returns whether it may, or raises Failed; `deadline` is when its
    caller leaves, on the server's clock.
    """

    request: Request
    agent: LoadedAgent
    action: ddl.Action
    data: Mapping[str, Any]
    begin: Callable[[], bool]
    deadline: float


def threads(count: int, name: str) -> Executor:
    """Return a pool of `count` threads of that name: what a workshop works with, outside tests."""
    return ThreadPoolExecutor(count, thread_name_prefix=name)


class Scheduler:
    """Works at `max_actions` actions at once, with `max_queued` more waiting; `inside` is what rpcutil is given.

    `limits` are how many actions of an agent may run at once, by its name; `make_pool` makes what runs steps, of a
    number of threads and their name.
    """

    def __init__(
        self,
        runner: Runner,
        replies: Replies,
        facts: Facts,
        inside: Any,
        now: Callable[[], float],
        max_actions: int,
        max_queued: int,
        limits: Mapping[str, int],
        make_pool: Callable[[int, str], Executor] = threads,
    ) -> None:
        self._runner = runner
        self._replies = replies
        self._facts = facts
        self._inside = inside
        self._now = now
        actions, data = make_pool(max_actions, "action"), make_pool(_DATA_THREADS, "data")
        self._answers = make_pool(_ANSWER_THREADS, "answer")
        self._pools = (actions, data, self._answers)
        self._actions = FairQueue(actions, max_actions, max_queued, limits)
        self._data = FairQueue(data, _DATA_THREADS, max_queued, {})
        self._answer_room = threading.BoundedSemaphore(_MOST_ANSWERS)
        self.took = Durations()  # by agent and action
        self.outcomes = Counters()  # by agent, action, and what came of it
        self._busy = 0
        self._changed = threading.Condition()

    @property
    def running(self) -> int:
        """How many requests are being worked at, or wait for their turn."""
        return self._busy

    def submit(self, work: Work) -> None:
        """Take on admitted work; raise Failed (`busy`) when too much is waiting already."""
        if work.agent.name != INSIDE:
            self._enter(self._actions, work.agent.name, lambda: self._perform(work))
        elif work.action.name == ASKS_DATA:
            self.consider(INSIDE, lambda: self._perform(work))
        else:
            self.answer(lambda: self._perform(work))

    def consider(self, agent: str, step: Step) -> None:
        """Do what asks data functions, apart from actions and answers; raise Failed (`busy`) when too much waits."""
        self._enter(self._data, agent, step)

    def answer(self, step: Step) -> None:
        """Do something quick, such as sending a refusal, without waiting for actions.

        When very much of it waits, so does whoever calls: a node receives no faster than it can answer.
        """
        self._answer_room.acquire()
        self._change_busy(+1)
        self._answers.submit(self._guarded(step, self._answer_room.release))

    def stop(self, timeout: float) -> None:
        """Let what there is finish for at most `timeout` seconds, then end what runs as interrupted.

        What waits for its turn even then stays in the journal, for the next daemon.
        """
        if not self._idle(timeout):
            self._change_busy(-self._actions.close() - self._data.close())
            self._runner.stop()
            self._idle(_ENDING)
        self._replies.stop()
        for pool in self._pools:
            pool.shutdown(wait=False, cancel_futures=True)

    def _idle(self, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy, timeout)

    def _enter(self, lanes: FairQueue, lane: str, step: Step) -> None:
        self._change_busy(+1)
        entered = False
        try:
            entered = lanes.enter(lane, self._guarded(step))
        finally:
            if not entered:
                self._change_busy(-1)

    def _guarded(self, step: Step, leave: Step = lambda: None) -> Step:
        def run() -> None:
            try:
                step()
            except Exception:
                log.exception("node.defect")  # ours, not an agent's: the thread lives on
            finally:
                leave()
                self._change_busy(-1)

        return run

    def _change_busy(self, by: int) -> None:
        with self._changed:
            self._busy += by
            self._changed.notify_all()

    def _perform(self, work: Work) -> None:
        started = time.monotonic()
        try:
            if not work.begin():
                return  # another thread has it: an action runs once
            answer = self._call(work)
            if not answer.statuscode:
                answer = replace(answer, data=work.action.check_output(answer.data))
        except RPCError as error:
            answer = ActionResult(error.statuscode, str(error), error.reason, error.data)
        except Exception as error:
            log.exception("node.defect", extra={"agent": work.agent.name, "action": work.action.name})
            answer = failed("crashed", f"{type(error).__name__}: {error}")
        if not isinstance(answer.data, dict):
            answer = replace(answer, data={})
        self._note(work, answer, time.monotonic() - started)
        self._replies.conclude(work.request, answer, time.monotonic() - started)

    def _note(self, work: Work, answer: ActionResult, seconds: float) -> None:
        what = (work.agent.name, work.action.name)
        self.took.add(seconds, *what)
        self.outcomes.add((*what, answer.reason or _OUTCOMES[answer.statuscode]))

    def _call(self, work: Work) -> ActionResult:
        timeout = min(work.action.timeout, work.deadline - self._now())
        if timeout <= 0:
            raise Failed("the request waited for its turn until its caller had left", reason="expired")
        available = {
            "settings": work.agent.settings,
            "caller": work.request.caller,
            "facts": self._facts.current,
            "deadline": time.monotonic() + timeout,
        }
        if work.agent.name == INSIDE:
            function = work.agent.functions[work.action.name]
            supplied = work.agent.supplied(work.action.name, {**available, "node": self._inside})
            return ActionResult(data=function(**work.data, **supplied))
        supplied = work.agent.supplied(work.action.name, available)
        job = ActionJob(
            path=str(work.agent.path),
            action=work.action.name,
            data=work.data,
            supplied=supplied,
            secrets=work.action.secret_texts(work.data),
            code=work.agent.code,
        )
        return self._runner.run(job, timeout)
