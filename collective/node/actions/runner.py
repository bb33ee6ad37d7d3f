"""Run actions in processes of their own, each under a monitor with a deadline: the daemon's side.

    Runner.run(job, timeout) ── fork server ──► monitor (monitor.py) ──► worker (worker.py)
           ◄────────── ActionResult ───────────────┘

The fork server (standard library) is single-threaded and loads little, so forking it is quick and safe; forking this
threaded daemon would not be. It starts with the first action, and is replaced when it does not work.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from multiprocessing.connection import Connection

from collective import bounded_json
from collective.errors import MessageError
from collective.node.actions import leftovers, preloading
from collective.node.actions.cgroup import Group, Groups
from collective.node.actions.fork_server import ForkServer
from collective.node.actions.job import CANCELLED, CRASHED, LARGEST_MESSAGE, ActionJob, ActionResult, failed_result
from collective.node.actions.monitor import monitor_action

log = logging.getLogger(__name__)

_GRACE = 10.0  # seconds after the deadline that a monitor has to kill an action's processes
_REAP = 1.0  # seconds to wait for the end of a monitor that has sent its result, or was killed


class Runner:
    """Runs jobs, in control groups if `groups` has any; safe for any number of threads."""

    def __init__(self, groups: Groups | None = None) -> None:
        self._groups = groups or Groups(None)
        self._fork_server = ForkServer()
        self.preload(())
        self._lock = threading.Lock()
        self._running: dict[Connection, str] = {}  # the tokens of the jobs
        self._expected: dict[str, str] = {}  # why a job that does not run yet is cancelled, by its token

    def preload(self, codes: Iterable[bytes]) -> None:
        """Let the next fork server import what these compiled files of agents and data functions import."""
        self._fork_server.preload(preloading.preloaded(codes))

    def run(self, job: ActionJob, timeout: float) -> ActionResult:
        """Run one job for at most `timeout` seconds and return how it ended; never raise for what an action does."""
        connection, remote = self._fork_server.pipe()
        job = replace(job, token=job.token or secrets.token_hex(16))
        if cancelled := self._enter(connection, job.token):
            remote.close()
            self._close(connection)
            return failed_result(cancelled, reason=CANCELLED)
        group = self._groups.make()
        try:
            process = self._fork_server.start(monitor_action, (remote, job, timeout, group))
        except (OSError, EOFError, RuntimeError) as error:
            self._close(connection)  # ends a monitor that has started nevertheless
            if group:
                group.end()
            return failed_result(f"the action's monitor process cannot be started: {error!r}", reason=CRASHED)
        finally:
            remote.close()
        result = _receive(connection, timeout + _GRACE)
        self._close(connection)
        if result is None:
            process.kill()
            _end_processes(job, process.pid, group)
            message = "the action's monitor process died, and all its processes were killed"
            result = failed_result(message, reason=CRASHED)
        process.join(_REAP)
        return result

    @contextlib.contextmanager
    def expected(self, token: str) -> Iterator[None]:
        """Let `cancel` reach the action with this token for the time of a block, even before it runs."""
        with self._lock:
            self._expected[token] = ""
        try:
            yield
        finally:
            with self._lock:
                self._expected.pop(token, None)

    def stop(self) -> None:
        """Kill every running action with its processes; their `run` returns `interrupted`."""
        with self._lock:
            for connection in self._running:
                _send(connection, "stop")

    def cancel(self, token: str, message: str) -> bool:
        """Kill the action with this token and its processes; its `run` returns `cancelled`.

        Return whether it runs, or is expected to. `message` becomes the status message; it starts with `cancelled`.
        """
        with self._lock:
            if token in self._expected:
                self._expected[token] = message
                return True
            found = [connection for connection, running in self._running.items() if running == token]
            for connection in found:
                _send(connection, message)
        return bool(found)

    def close(self) -> None:
        """End the fork server; nothing runs any more."""
        self._fork_server.close()

    def _enter(self, connection: Connection, token: str) -> str:
        """List an action as running; return why it is cancelled, if it is."""
        with self._lock:
            self._running[connection] = token
            return self._expected.pop(token, "")

    def _close(self, connection: Connection) -> None:
        with self._lock:
            self._running.pop(connection, None)
        connection.close()


def _send(connection: Connection, order: str) -> None:
    with contextlib.suppress(OSError):  # the monitor has just ended
        connection.send_bytes(order.encode())


def _receive(connection: Connection, timeout: float) -> ActionResult | None:
    """Return a monitor's result; None if it has died or does not send one in time."""
    try:
        if not connection.poll(timeout):
            return None
        text = connection.recv_bytes(LARGEST_MESSAGE).decode()
    except (EOFError, OSError):
        return None
    try:
        return ActionResult(**bounded_json.parse(text, "result"))
    except (MessageError, TypeError) as error:
        return failed_result(f"the action's result cannot be used: {error}", reason=CRASHED)


def _end_processes(job: ActionJob, monitor: int | None, group: Group | None) -> None:
    if group:
        group.end()
    if killed := leftovers.end_leftovers(job.token, monitor):
        log.warning("action.abandoned", extra={"action": job.action, "processes": killed})
