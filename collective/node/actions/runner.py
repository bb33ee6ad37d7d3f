"""Run actions in processes of their own, each under a monitor with a deadline: the daemon's side.

    Runner.run(job, timeout) ── fork server ──► monitor (monitor.py) ──► worker (worker.py)
           ◄────────── ActionResult ───────────────┘

The fork server (standard library) is single-threaded and loads little, so forking it is quick and safe; forking this
threaded daemon would not be. It starts with the first action, and is restarted when it cannot be reached.
"""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import os
import signal
import threading
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from collective.node.actions import socket_folder
from collective.node.actions.cgroup import Group, Groups
from collective.node.actions.job import CRASHED, ActionJob, ActionResult, failed_result
from collective.node.actions.monitor import monitor_action

log = logging.getLogger(__name__)

_GRACE = 10.0  # seconds after the deadline that a monitor has to kill an action's processes


class Runner:
    """Runs jobs, in control groups if `groups` has any; safe for any number of threads."""

    def __init__(self, groups: Groups | None = None) -> None:
        self._groups = groups or Groups(None)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["collective.node.actions.monitor"])
        self._starting = threading.Lock()
        self._running: set[Connection] = set()

    def run(self, job: ActionJob, timeout: float) -> ActionResult:
        """Run one job for at most `timeout` seconds and return how it ended; never raise for what an action does."""
        connection, remote = self._context.Pipe()
        group = self._groups.make()
        try:
            process = self._start(connection, (remote, job, timeout, group))
        except (OSError, EOFError) as error:
            connection.close()  # ends a monitor that has started nevertheless
            if group:
                group.end()
            return failed_result(f"the action's monitor process cannot be started: {error!r}", reason=CRASHED)
        finally:
            remote.close()
        try:
            if connection.poll(timeout + _GRACE):
                return ActionResult(**json.loads(connection.recv_bytes()))
        except (EOFError, OSError):
            pass
        finally:
            with self._starting:
                self._running.discard(connection)
            connection.close()
            process.join(_GRACE)
        process.kill()
        if group:
            group.end()
        return failed_result("the action's monitor process died", reason=CRASHED)

    def _start(
        self, connection: Connection, arguments: tuple[Connection, ActionJob, float, Group | None]
    ) -> BaseProcess:
        """Start a monitor; if the fork server cannot be reached, start a new fork server first."""
        with self._starting:
            socket_folder.prepare()
            try:
                process = self._context.Process(target=monitor_action, args=arguments, daemon=False)
                process.start()
            except OSError as error:  # no monitor has started; after EOFError one may have, and nothing may run twice
                log.warning("forkserver.restarted", extra={"error": repr(error)})
                _forget_fork_server()
                socket_folder.prepare()
                process = self._context.Process(target=monitor_action, args=arguments, daemon=False)
                process.start()
            self._running.add(connection)
        return process

    def stop(self) -> None:
        """Kill every running action with its processes; their `run` returns `interrupted`."""
        with self._starting:
            for connection in self._running:
                with contextlib.suppress(OSError):  # the monitor has just ended
                    connection.send_bytes(b"stop")


def _forget_fork_server() -> None:
    """Make the next start use a new fork server in a new folder: /tmp, where its socket was, may have been cleaned.

    There is no public way. Running monitors do not need the fork server that started them.
    """
    server = getattr(forkserver, "_forkserver")  # noqa: B009 - typeshed has neither name
    if pid := getattr(server, "_forkserver_pid"):  # noqa: B009
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # not reaped: its owner must see that it is dead
    getattr(multiprocessing.current_process(), "_config").pop("tempdir", None)  # noqa: B009
