"""The threads of a node and the queues in front of them: how much runs, how much waits, and when a node is busy.

run_action ─► fair queue ─► `max_actions` threads    actions, which wait for their own processes
run_query ──► fair queue ─► 4 threads                filters and get_data, which wait for data functions
run_quick ────────────────► 2 threads                refusals and rpcutil, so that a busy node still answers ping
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

from collective.errors import Failed
from collective.node.requests.fair_queue import FairQueue
from collective.text import plural

log = logging.getLogger(__name__)

MakePool = Callable[[int, str], Executor]  # from a number of threads and their name

_QUERY_THREADS = 4
_QUICK_THREADS = 2
_MOST_QUICK = 100  # quick calls that may wait; each may hold a request of a megabyte


def thread_pool(count: int, name: str) -> Executor:
    """Return a pool of `count` running threads whose names start with `name`. Raise Failed if they cannot be started.

    ThreadPoolExecutor starts a thread when it is needed. If that fails, `submit` raises, but keeps the call and makes
    it later: a request would be answered as failed and then run.
    """
    pool = ThreadPoolExecutor(count, thread_name_prefix=name)
    started = threading.Barrier(count + 1)
    try:
        for _ in range(count):
            pool.submit(started.wait)
    except RuntimeError as error:
        started.abort()
        raise Failed(f"{plural(count, 'thread')} cannot be started: {error} (see 'max_actions')") from None
    started.wait()
    return pool


class RequestPools:
    """Calls functions for requests, each in the pool that fits; an exception is logged and ends nothing else.

    At most `max_actions` actions run and `max_queued` more wait. `agent_limits` are how many actions of an agent may
    run at the same time.
    """

    def __init__(
        self,
        max_actions: int,
        max_queued: int,
        agent_limits: Mapping[str, int],
        make_pool: MakePool = thread_pool,
    ) -> None:
        actions, queries = make_pool(max_actions, "action"), make_pool(_QUERY_THREADS, "query")
        self._quick = make_pool(_QUICK_THREADS, "quick")
        self._pools = (actions, queries, self._quick)
        self._actions = FairQueue(actions, max_actions, max_queued, agent_limits)
        self._queries = FairQueue(queries, _QUERY_THREADS, max_queued, {})
        self._quick_room = threading.BoundedSemaphore(_MOST_QUICK)
        self._in_progress = 0
        self._changed = threading.Condition()

    @property
    def in_progress(self) -> int:
        """The number of calls that wait or run."""
        return self._in_progress

    def run_action(self, agent: str, function: Callable[..., object], *arguments: Any) -> None:
        """Call `function`, which runs an action of `agent`, when it is its turn. Raise Refused (BUSY)."""
        self._submit(self._actions, agent, function, *arguments)

    def run_query(self, agent: str, function: Callable[..., object], *arguments: Any) -> None:
        """Call `function`, which waits for data functions, when it is its turn. Raise Refused (BUSY)."""
        self._submit(self._queries, agent, function, *arguments)

    def run_quick(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call `function`, which is quick, without waiting for actions.

        If very many wait, this blocks until there is room: a node receives no faster than it can answer.
        """
        self._quick_room.acquire()
        self._count(+1)
        try:
            self._quick.submit(self._call_quick, function, *arguments)
        except RuntimeError:
            self._count(-1)
            self._quick_room.release()
            raise

    def wait_idle(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until nothing waits or runs; return whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._in_progress, timeout)

    def drop_waiting(self) -> None:
        """Drop what waits for its turn, and accept nothing further: the journal has it for the next daemon."""
        self._count(-self._actions.close() - self._queries.close())

    def shutdown(self) -> None:
        """Let the threads end."""
        for pool in self._pools:
            pool.shutdown(wait=False, cancel_futures=True)

    def _submit(self, queue: FairQueue, agent: str, function: Callable[..., object], *arguments: Any) -> None:
        self._count(+1)
        submitted = False
        try:
            submitted = queue.submit(agent, self._call, function, *arguments)
        finally:
            if not submitted:
                self._count(-1)

    def _call(self, function: Callable[..., object], *arguments: Any) -> None:
        try:
            function(*arguments)
        except Exception:
            log.exception("node.internal_error")  # the thread must live on
        finally:
            self._count(-1)

    def _call_quick(self, function: Callable[..., object], *arguments: Any) -> None:
        try:
            self._call(function, *arguments)
        finally:
            self._quick_room.release()

    def _count(self, change: int) -> None:
        with self._changed:
            self._in_progress += change
            self._changed.notify_all()
