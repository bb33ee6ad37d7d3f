"""Run actions in processes of their own, each under a keeper with a deadline; the daemon's half of it.

    Runner.run(job, timeout) ── fork server ──► keeper ──► worker      (keeper.py)
           ◄──────────── Answer ───────────────┘

The fork server (standard library) is single-threaded and loads little, so forking it is quick and safe, which
forking this threaded daemon would not be. It starts with the first action, and anew when it is not to be reached.
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

from collective.node.actions.cgroup import Group, Groups
from collective.node.actions.monitor import ActionJob, ActionResult, failed, monitor_action

log = logging.getLogger(__name__)

_GRACE = 10.0  # seconds beyond the deadline that a keeper may need to end a family


class Runner:
    """Runs jobs, in `groups` where there are any; any number of threads may call `run` at once."""

    def __init__(self, groups: Groups | None = None) -> None:
        self._groups = groups or Groups(None)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["collective.node.actions.monitor"])
        self._starting = threading.Lock()
        self._running: set[Connection] = set()

    def run(self, job: ActionJob, timeout: float) -> ActionResult:
        """Run one job for at most `timeout` seconds; return how it ended. Never raises for what an agent does."""
        ours, theirs = self._context.Pipe()
        group = self._groups.make()
        try:
            process = self._start(ours, (theirs, job, timeout, group))
        except (OSError, EOFError) as error:
            ours.close()  # which ends a keeper that has begun nevertheless
            if group:
                group.end()
            return failed("crashed", f"the process that keeps the action cannot be started: {error!r}")
        finally:
            theirs.close()
        try:
            if ours.poll(timeout + _GRACE):
                return ActionResult(**json.loads(ours.recv_bytes()))
        except (EOFError, OSError):
            pass
        finally:
            with self._starting:
                self._running.discard(ours)
            ours.close()
            process.join(_GRACE)
        process.kill()
        if group:
            group.end()
        return failed("crashed", "the process that keeps the action has died")

    def _start(self, ours: Connection, arguments: tuple[Connection, ActionJob, float, Group | None]) -> BaseProcess:
        """Start a keeper, by a new fork server when the one that there is cannot be talked to."""
        with self._starting:
            try:
                process = self._context.Process(target=monitor_action, args=arguments, daemon=False)
                process.start()
            except OSError as error:  # no keeper has begun; after EOFError one may have, and nothing is done twice
                log.warning("forkserver.restarted", extra={"error": repr(error)})
                _forget_fork_server()
                process = self._context.Process(target=monitor_action, args=arguments, daemon=False)
                process.start()
            self._running.add(ours)
        return process

    def stop(self) -> None:
        """End every running action with its family; their `run` returns `interrupted`."""
        with self._starting:
            for connection in self._running:
                with contextlib.suppress(OSError):  # its keeper has just ended by itself
                    connection.send_bytes(b"stop")


def _forget_fork_server() -> None:
    """Have the next start begin a new one, in a new folder: somebody may have tidied up /tmp, where its socket was.

    There is no public way. Keepers go on without the fork server that they came from; a dead one is replaced.
    """
    server = getattr(forkserver, "_forkserver")  # noqa: B009 - typeshed knows neither name
    if pid := getattr(server, "_forkserver_pid"):  # noqa: B009
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # not reaped: its owner wants to see that it is dead
    getattr(multiprocessing.current_process(), "_config").pop("tempdir", None)  # noqa: B009
