"""Run actions in processes of their own, each under a monitor with a deadline: the daemon's side.

    Runner.run(job, timeout) ── fork server ──► monitor (monitor.py) ──► worker (worker.py)
           ◄────────── ActionResult ───────────────┘

The fork server is single-threaded and loads little, so forking it is quick and safe; forking this threaded daemon would
not be. It starts with the first action, and is replaced when it does not work.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from collective import bounded_json
from collective.errors import MessageError
from collective.node.actions import leftovers
from collective.node.actions.cgroup import Group
from collective.node.actions.channel import Channel
from collective.node.actions.fork_server import ForkServer
from collective.node.actions.groups import Groups
from collective.node.actions.job import (
    CANCELLED,
    CRASHED,
    LARGEST_MESSAGE,
    TIMEOUT,
    ActionJob,
    ActionResult,
    TimeLimit,
    failed_result,
)
from collective.node.installed_version import InstalledVersion

log = logging.getLogger(__name__)

_GRACE = 10.0  # seconds after the deadline that a monitor has to kill an action's processes
_REAP = 1.0  # seconds to wait for the end of a monitor that has sent its result, or was killed
_HINT = "see the node's log; if the package was replaced, restart collectived"
_STEP = 5.0  # seconds that a monitor has for each step of receiving its job and sending its result


@dataclass(eq=False)
class _Run:
    """One job in a runner. `order` is what is to end it; `channel` is None until its monitor has started."""

    token: str
    channel: Channel | None = None
    order: str = ""


class Runner:
    """Runs jobs, in control groups if `groups` has any; safe for any number of threads.

    Runners of one process can share a fork server. When another version is `installed` by now, nothing is run: the
    processes would have its code.
    """

    def __init__(
        self,
        groups: Groups | None = None,
        fork_server: ForkServer | None = None,
        installed: InstalledVersion | None = None,
    ) -> None:
        self._groups = groups or Groups(None)
        self._fork_server = fork_server or ForkServer()
        self._installed = installed
        self._lock = threading.Lock()
        self._running: list[_Run] = []
        self._expected: dict[str, str] = {}  # why a job that does not run yet is cancelled, by its token

    def run(self, job: ActionJob, timeout: float) -> ActionResult:
        """Run one job for at most `timeout` seconds and return how it ended; never raise for what an action does."""
        job = job._replace(token=job.token or secrets.token_hex(16))
        run = _Run(job.token)
        with self._lock:
            if cancelled := self._expected.pop(job.token, ""):
                return failed_result(cancelled, reason=CANCELLED)
            self._running.append(run)
        try:
            return self._run(run, job, timeout, time.monotonic() + timeout)
        finally:
            with self._lock:
                self._running.remove(run)

    def _run(self, run: _Run, job: ActionJob, timeout: float, deadline: float) -> ActionResult:
        if self._installed and (problems := self._installed.problems):
            return failed_result(f"the action was not started: {problems[0]}", reason=CRASHED)
        try:
            monitor = self._fork_server.start(job.modules)
        except (OSError, EOFError, RuntimeError) as error:
            message = f"the action's monitor process cannot be started: {error!r} ({_HINT})"
            return failed_result(message, reason=CRASHED)
        try:
            left = deadline - time.monotonic()
            if left <= 0:
                return failed_result("the action was not started: its process came too late", reason=TIMEOUT)
            group = self._groups.make()
            result = self._received(run, monitor.channel, (job, TimeLimit(timeout, left), group))
            if result is None:
                monitor.kill()
                _end_processes(job, monitor.pid, group)
                message = "the action's monitor process died, and all its processes were killed"
                result = failed_result(message, reason=CRASHED)
            monitor.wait(_REAP)
            return result
        finally:
            monitor.close()

    def _received(
        self, run: _Run, channel: Channel, arguments: tuple[ActionJob, TimeLimit, Group | None]
    ) -> ActionResult | None:
        """Return the result of a monitor's job; None if it has died or does not send one in time."""
        channel.limit(_STEP)
        try:
            channel.send(pickle.dumps(arguments))
            with self._lock:
                run.channel = channel
                if run.order:
                    _end(run, run.order)
            if not channel.wait(arguments[1].left + _GRACE):
                return None
            text = channel.receive(LARGEST_MESSAGE).decode()
        except (EOFError, OSError):
            return None
        try:
            return ActionResult(**bounded_json.parse(text, "result"))
        except (MessageError, TypeError) as error:
            return failed_result(f"the action's result cannot be used: {error}", reason=CRASHED)

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
            for run in self._running:
                _end(run, "stop")

    def cancel(self, token: str, message: str) -> bool:
        """Kill the action with this token and its processes; its `run` returns `cancelled`.

        Return whether it runs, or is expected to. `message` becomes the status message; it starts with `cancelled`.
        """
        with self._lock:
            if token in self._expected:
                self._expected[token] = message
                return True
            found = [run for run in self._running if run.token == token]
            for run in found:
                _end(run, message)
        return bool(found)

    def close(self) -> None:
        """End the fork server; nothing runs any more."""
        self._fork_server.close()


def _end(run: _Run, order: str) -> None:
    run.order = order
    if run.channel:
        with contextlib.suppress(OSError):  # the monitor has just ended
            run.channel.send(order.encode())


def _end_processes(job: ActionJob, monitor: int | None, group: Group | None) -> None:
    if group:
        group.end()
    if killed := leftovers.end_leftovers(job.token, monitor):
        log.warning("action.abandoned", extra={"action": job.action, "processes": killed})
