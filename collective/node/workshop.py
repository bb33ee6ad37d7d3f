"""Perform admitted work: each piece waits in a pool for its turn, is audited, run, and its answer concluded.

`rpcutil` has a pool of its own and runs inside the daemon, so that a node busy with ten installs still answers
`ping`. Everything else runs in a process of its own (runner.py).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from collective import ddl
from collective.errors import Failed, RPCError
from collective.messages import Request
from collective.node.agents import INSIDE, Agent
from collective.node.facts import Facts
from collective.node.keeper import Answer, Job
from collective.node.replies import Replies
from collective.node.runner import Runner

log = logging.getLogger(__name__)

ASKS_DATA = "get_data"  # the one action of rpcutil that waits for other processes
_ANSWER_THREADS = 2
_DATA_THREADS = 4
_ENDING = 20.0  # seconds for interrupted work to be ended and answered


@dataclass(frozen=True)
class Work:
    """An admitted request and what it takes to run it.

    `begin` audits the decision, or raises Failed; `deadline` is when its caller leaves, on the server's clock.
    """

    request: Request
    agent: Agent
    action: ddl.Action
    data: Mapping[str, Any]
    begin: Callable[[], None]
    deadline: float


class Workshop:
    """Works at `max_actions` actions at once, with `max_queued` more waiting; `inside` is what rpcutil is given."""

    def __init__(
        self,
        runner: Runner,
        replies: Replies,
        facts: Facts,
        inside: Any,
        now: Callable[[], float],
        max_actions: int,
        max_queued: int,
    ) -> None:
        self._runner = runner
        self._replies = replies
        self._facts = facts
        self._inside = inside
        self._now = now
        self._room = threading.BoundedSemaphore(max_actions + max_queued)
        self._actions = ThreadPoolExecutor(max_actions, thread_name_prefix="action")
        self._answers = ThreadPoolExecutor(_ANSWER_THREADS, thread_name_prefix="answer")
        self._data_room = threading.BoundedSemaphore(_DATA_THREADS + max_queued)
        self._data = ThreadPoolExecutor(_DATA_THREADS, thread_name_prefix="data")
        self._busy = 0
        self._changed = threading.Condition()

    @property
    def running(self) -> int:
        """How many requests are being worked at, or wait for their turn."""
        return self._busy

    def submit(self, work: Work) -> None:
        """Take on admitted work; raise Failed (`busy`) when too much is waiting already."""
        if work.agent.name == INSIDE:
            quick = work.action.name != ASKS_DATA
            (self.answer if quick else self.consider)(lambda: self._perform(work))
            return
        if not self._room.acquire(blocking=False):
            raise Failed("this node has too much to do: try again later", reason="busy")
        self._enter(self._actions, lambda: self._perform(work), self._room.release)

    def answer(self, step: Callable[[], None]) -> None:
        """Do something quick, such as sending a refusal, without waiting for actions."""
        self._enter(self._answers, step, lambda: None)

    def consider(self, step: Callable[[], None]) -> None:
        """Do what asks data functions, apart from actions and answers; raise Failed (`busy`) when too much waits."""
        if not self._data_room.acquire(blocking=False):
            raise Failed("this node is asked for too much data: try again later", reason="busy")
        self._enter(self._data, step, self._data_room.release)

    def stop(self, timeout: float) -> None:
        """Let what runs finish for at most `timeout` seconds, then end it as interrupted."""
        if not self._idle(timeout):
            self._runner.stop()
            self._idle(_ENDING)
        self._replies.stop()
        for pool in (self._actions, self._answers, self._data):
            pool.shutdown(wait=False, cancel_futures=True)

    def _idle(self, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy, timeout)

    def _enter(self, pool: ThreadPoolExecutor, step: Callable[[], None], leave: Callable[[], None]) -> None:
        def run() -> None:
            try:
                step()
            except Exception:
                log.exception("node.defect")  # ours, not an agent's: the thread lives on
            finally:
                leave()
                self._change_busy(-1)

        self._change_busy(+1)
        pool.submit(run)

    def _change_busy(self, by: int) -> None:
        with self._changed:
            self._busy += by
            self._changed.notify_all()

    def _perform(self, work: Work) -> None:
        started = time.monotonic()
        try:
            work.begin()
            answer = self._call(work)
            if not answer.statuscode:
                answer = replace(answer, data=work.action.check_output(answer.data))
        except RPCError as fault:
            answer = Answer(fault.statuscode, str(fault), fault.reason, fault.data)
        if not isinstance(answer.data, dict):
            answer = replace(answer, data={})
        self._replies.conclude(work.request, answer, time.monotonic() - started, work.deadline)

    def _call(self, work: Work) -> Answer:
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
            return Answer(data=function(**work.data, **supplied))
        supplied = work.agent.supplied(work.action.name, available)
        job = Job(
            path=str(work.agent.path),
            action=work.action.name,
            data=work.data,
            supplied=supplied,
            secrets=work.action.secret_texts(work.data),
        )
        return self._runner.run(job, timeout)
