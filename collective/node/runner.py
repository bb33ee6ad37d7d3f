"""Run actions in processes of their own, each under a keeper with a deadline; the daemon's half of it.

    Runner.run(job, timeout) ── fork server ──► keeper ──► worker      (keeper.py)
           ◄──────────── Answer ───────────────┘

The fork server (standard library) is single-threaded and loads little, so forking it is quick and safe, which
forking this threaded daemon would not be. It starts with the first action.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import threading
from multiprocessing.connection import Connection

from collective.node.cgroup import Groups
from collective.node.keeper import Answer, Job, failed, keep

_GRACE = 10.0  # seconds beyond the deadline that a keeper may need to end a family


class Runner:
    """Runs jobs, in `groups` where there are any; any number of threads may call `run` at once."""

    def __init__(self, groups: Groups | None = None) -> None:
        self._groups = groups or Groups(None)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["collective.node.keeper"])
        self._starting = threading.Lock()
        self._running: set[Connection] = set()

    def run(self, job: Job, timeout: float) -> Answer:
        """Run one job for at most `timeout` seconds; return how it ended. Never raises for what an agent does."""
        ours, theirs = self._context.Pipe()
        group = self._groups.make()
        with self._starting:
            process = self._context.Process(target=keep, args=(theirs, job, timeout, group), daemon=False)
            process.start()
            self._running.add(ours)
        theirs.close()
        try:
            if ours.poll(timeout + _GRACE):
                return Answer(**json.loads(ours.recv_bytes()))
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

    def stop(self) -> None:
        """End every running action with its family; their `run` returns `interrupted`."""
        with self._starting:
            for connection in self._running:
                with contextlib.suppress(OSError):  # its keeper has just ended by itself
                    connection.send_bytes(b"stop")
