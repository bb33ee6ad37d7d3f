"""Start processes with the standard library's fork server, and replace a fork server that does not do its work.

Starting waits for the fork server. One that was stopped (SIGSTOP) would make it wait for ever: after START_LIMIT
seconds, or BEGIN_LIMIT if it is new, it is killed, which ends the wait. One that has had nothing to do for IDLE_LIMIT
seconds is ended, with the resource tracker that the standard library starts beside it; the next start begins a new one.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from collective.node.actions import socket_folder

log = logging.getLogger(__name__)

START_LIMIT = 5.0  # seconds
BEGIN_LIMIT = 20.0  # seconds: a new fork server imports modules first, which takes long on a busy machine
IDLE_LIMIT = 300.0  # seconds


class ForkServer:
    """Starts processes, one at a time; safe for any number of threads. It ends when idle for `idle_limit` seconds."""

    def __init__(self, idle_limit: float = IDLE_LIMIT) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._idle_limit = idle_limit
        self._starting = threading.Lock()
        self._changed = threading.Condition()
        self._start = 0  # the number of the start that goes on; 0: none does
        self._starts = 0
        self._limit = BEGIN_LIMIT
        self._served: int | None = None  # the process id of the fork server that has started the last process
        self._watcher: threading.Thread | None = None

    def pipe(self) -> tuple[Connection, Connection]:
        """Return the two ends of a pipe in both directions."""
        return self._context.Pipe()

    def preload(self, modules: Iterable[str]) -> None:
        """Let the next fork server import these modules when it starts, in this order."""
        self._context.set_forkserver_preload(list(modules))

    def start(self, target: Callable[..., None], arguments: tuple[Any, ...]) -> BaseProcess:
        """Start a process, if need be with a new fork server. Raise OSError, EOFError or RuntimeError.

        After EOFError the process may have started.
        """
        with self._starting:
            try:
                return self._start_watched(target, arguments)
            except OSError as error:  # nothing has started; after EOFError it may have, and nothing may run twice
                log.warning("forkserver.restarted", extra={"error": repr(error)})
                self._forget()
                return self._start_watched(target, arguments)

    def close(self) -> None:
        """Kill the fork server: Python waits for its processes at exit, also for a stopped one."""
        _kill()

    def _start_watched(self, target: Callable[..., None], arguments: tuple[Any, ...]) -> BaseProcess:
        process = self._context.Process(target=target, args=arguments, daemon=False)
        socket_folder.prepare()
        self._watch()
        try:
            process.start()
            self._served = _pid()
        finally:
            self._note(0)
        return process

    def _watch(self) -> None:
        if self._watcher is None:
            watcher = threading.Thread(target=self._kill_late, name="forkserver", daemon=True)
            watcher.start()
            self._watcher = watcher
        self._starts += 1
        self._limit = START_LIMIT if self._served and self._served == _pid() else BEGIN_LIMIT
        self._note(self._starts)

    def _note(self, start: int) -> None:
        with self._changed:
            self._start = start
            self._changed.notify_all()

    def _kill_late(self) -> None:
        """Kill the fork server whenever a start takes too long, and when it is idle."""
        while True:
            with self._changed:
                wanted = self._changed.wait_for(lambda: self._start, self._idle_limit)
            if not wanted:
                self._end_idle()
                continue
            with self._changed:
                start, limit = self._start, self._limit
                in_time = self._changed.wait_for(lambda: self._start != start, limit)  # noqa: B023 - called here
            if not in_time:
                log.error("forkserver.stopped", extra={"error": f"no process started within {limit:.0f} s"})
                _kill()
                with self._changed:
                    self._changed.wait_for(lambda: self._start != start, START_LIMIT)  # noqa: B023 - called here

    def _end_idle(self) -> None:
        with self._starting:
            if not multiprocessing.active_children() and _kill():
                _stop()

    def _forget(self) -> None:
        """Make the next start use a new fork server in a new folder: /tmp, where its socket was, may have been cleaned.

        There is no public way. Running processes do not need the fork server that started them.
        """
        if pid := _kill():
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # not reaped: its owner must see that it is dead
        getattr(multiprocessing.current_process(), "_config").pop("tempdir", None)  # noqa: B009


def _stop() -> None:
    """Make the standard library forget the killed fork server, and its resource tracker, which has nothing to do.

    The tracker is killed as well: it would end only with the last process that has its pipe, such as one that an action
    has left running.
    """
    tracker = getattr(resource_tracker, "_resource_tracker")  # noqa: B009 - typeshed has none of these names
    if pid := getattr(tracker, "_pid", None):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(OSError):  # a process has been reaped, or its socket removed
        getattr(getattr(forkserver, "_forkserver"), "_stop")()  # noqa: B009
    with contextlib.suppress(OSError):
        getattr(tracker, "_stop")()  # noqa: B009


def _kill() -> int | None:
    """Kill the fork server, and return its process id if there is one."""
    if pid := _pid():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return pid


def _pid() -> int | None:
    """Return the process id of the fork server, also of a dead one; None before the first."""
    server = getattr(forkserver, "_forkserver")  # noqa: B009 - typeshed has neither name
    pid: int | None = getattr(server, "_forkserver_pid")  # noqa: B009
    return pid
