"""Run a command for events.

    CommandHandler(Command("./handler.sh", timeout=60), me).handle(events) ─► exit code, or None if it was ended

The command is run by `/bin/sh -c`, in a process group of its own, which is killed when it takes too long. Its output
goes to standard error of the watcher. That of a daemon is its log, which a command of another user must not write: it
gets a pipe instead, and the end of what it writes is logged with its name.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Protocol

from collective.last_output import LastOutput
from collective.membership import serf_convention
from collective.membership.members import Event
from collective.membership.serf_convention import Self
from collective.processes import kill_group, signal_name
from collective.text import plural
from collective.watch_settings import TIMEOUT

log = logging.getLogger(__name__)

SERF, JSON = "serf", "json"  # what a handler gets on standard input
_STANDARD_ERROR = 2
_OUTPUT = 4096  # bytes in the log, the last ones
_LINES = 40


class EventHandler(Protocol):
    """Receives events, in their order, from one thread per node or from a single one."""

    def handle(self, events: Sequence[Event]) -> bool:
        """Handle events; return False if they must be delivered again by the next watcher."""
        ...

    def stop(self) -> None:
        """End what is running; `handle` then returns False."""
        ...


@dataclass(frozen=True)
class Command:
    """A command line for `/bin/sh`.

    `form` is what it gets on standard input: SERF or JSON, a line per event. `timeout` is in seconds. `settings` are
    arguments of Popen, such as the user. With `logged` the end of its output is logged.
    """

    line: str
    form: str = SERF
    timeout: float = TIMEOUT
    settings: dict[str, Any] = field(default_factory=dict)
    logged: bool = False


class CommandHandler:
    """Runs a command for events: once for consecutive events of a kind (serf), or once for all of them (JSON).

    `me` is the machine on which it runs. A command that fails or takes too long is logged as `handler.failed`; its
    events count as delivered.
    """

    def __init__(self, command: Command, me: Self) -> None:
        self._command = command
        self.me = me
        self._lock = threading.RLock()  # a signal may call `stop` while it runs
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def handle(self, events: Sequence[Event]) -> bool:
        """Run the command; return False if `stop` has ended it or kept it from running."""
        if self._command.form == JSON:
            text = "".join(f"{json.dumps(event.to_data())}\n" for event in events)
            return self._run(events[-1].kind, text, events)
        groups = [list(group) for _, group in groupby(events, lambda event: event.kind)]
        return all(self._run(group[0].kind, serf_convention.lines(group), group) for group in groups)

    def stop(self) -> None:
        """Kill the commands that are running."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                kill_group(process)

    def _run(self, kind: str, text: str, events: Iterable[Event]) -> bool:
        own = self._command.settings.get("env", os.environ)
        environment = serf_convention.DEFAULTS | own | serf_convention.variables(kind, self.me)
        try:
            process = self._start(environment)
        except OSError as error:
            self._report(f"cannot be started: {error.strerror}", events)
            return True
        if process is None:
            return False
        output, process.stdout = process.stdout, None  # not read by `communicate`, which would keep all of it
        written = LastOutput(output, _OUTPUT) if output else None
        try:
            problem = _ended(process, text, self._command.timeout)
        finally:
            with self._lock:
                self._running.discard(process)
                stopped = self._stopped
        if written and (lines := written.lines(_LINES)):
            log.info("handler.output", extra={"handler": self._command.line, "output": lines})
        if stopped and problem:
            return False
        if problem:
            self._report(problem, events)
        return True

    def _start(self, environment: dict[str, str]) -> subprocess.Popen[bytes] | None:
        """Start the command; return None after `stop`."""
        with self._lock:
            if self._stopped:
                return None
            process = subprocess.Popen(
                ["/bin/sh", "-c", self._command.line],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if self._command.logged else _STANDARD_ERROR,
                stderr=subprocess.STDOUT if self._command.logged else None,
                start_new_session=True,
                **{**self._command.settings, "env": environment},
            )
            self._running.add(process)
        return process

    def _report(self, problem: str, events: Iterable[Event]) -> None:
        names = sorted({event.member.identity for event in events})
        about = names[0] if len(names) == 1 else plural(len(names), "node")
        log.warning("handler.failed", extra={"error": f"handler '{self._command.line}' for {about}: {problem}"})


def _ended(process: subprocess.Popen[bytes], text: str, timeout: float) -> str:
    """Wait for a command, and return how it failed; empty if it did not. One that takes too long is killed."""
    try:
        process.communicate(text.encode(errors="backslashreplace"), timeout)
    except subprocess.TimeoutExpired:
        kill_group(process)
        process.communicate()
        return f"killed after {timeout:g} s"
    if process.returncode < 0:
        return f"ended by {signal_name(-process.returncode)}"
    return f"exit code {process.returncode}" if process.returncode else ""
