"""Start processes with the standard library's fork server, and replace a fork server that does not do its work.

Starting waits for the fork server. One that was stopped (SIGSTOP) would make it wait for ever:
after START_LIMIT seconds it is killed, which ends the wait.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from collective.node.actions import socket_folder

log = logging.getLogger(__name__)

START_LIMIT = 5.0  # seconds


class ForkServer:
    """Starts processes, one at a time; safe for any number of threads. It loads the modules `preload` once."""

    def __init__(self, preload: list[str]) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(preload)
        self._starting = threading.Lock()
        self._changed = threading.Condition()
        self._start = 0  # the number of the start that goes on; 0: none does
        self._starts = 0
        self._watcher: threading.Thread | None = None

    def pipe(self) -> tuple[Connection, Connection]:
        """Return the two ends of a pipe in both directions."""
        return self._context.Pipe()

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
        finally:
            self._note(0)
        return process

    def _watch(self) -> None:
        if self._watcher is None:
            watcher = threading.Thread(target=self._kill_late, name="forkserver", daemon=True)
            watcher.start()
            self._watcher = watcher
        self._starts += 1
        self._note(self._starts)

    def _note(self, start: int) -> None:
        with self._changed:
            self._start = start
            self._changed.notify_all()

    def _kill_late(self) -> None:
        """Kill the fork server whenever a start takes too long."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._start)
                start = self._start
                in_time = self._changed.wait_for(lambda: self._start != start, START_LIMIT)  # noqa: B023 - called here
            if not in_time:
                log.error("forkserver.stopped", extra={"error": f"no process started within {START_LIMIT:.0f} s"})
                _kill()
                with self._changed:
                    self._changed.wait_for(lambda: self._start != start, START_LIMIT)  # noqa: B023 - called here

    def _forget(self) -> None:
        """Make the next start use a new fork server in a new folder: /tmp, where its socket was, may have been cleaned.

        There is no public way. Running processes do not need the fork server that started them.
        """
        if pid := _kill():
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # not reaped: its owner must see that it is dead
        getattr(multiprocessing.current_process(), "_config").pop("tempdir", None)  # noqa: B009


def _kill() -> int | None:
    """Kill the fork server, and return its process id if there is one."""
    server = getattr(forkserver, "_forkserver")  # noqa: B009 - typeshed has neither name
    pid: int | None = getattr(server, "_forkserver_pid")  # noqa: B009
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return pid
