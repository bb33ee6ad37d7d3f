"""Run the program of a cluster in a place, and its hooks.

hook --on-replace, once for each machine before ─► program ─► check --ready, until it succeeds ─► the others may go on

The program ends with this process (prctl(2), PR_SET_PDEATHSIG), and is stopped when the place is lost. Signals are
passed on to it.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from collective import processes
from collective.cluster import words
from collective.cluster.holding import HeldPlace
from collective.cluster.state import ClusterMachine
from collective.cluster.words import PeerForm
from collective.errors import ClusterRefused

log = logging.getLogger(__name__)

_CHECK = 0.25  # seconds between two looks at the program
_READY_EVERY = 1.0  # seconds between two checks whether it is ready
_READY_TIMEOUT = 10.0  # seconds of one check
_GRACE = 30.0  # seconds from SIGTERM to SIGKILL, when the place is lost
_FIRST_RETRY, _LAST_RETRY = 1.0, 30.0  # seconds between two attempts of a hook
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_STANDARD_ERROR = 2


@dataclass(frozen=True)
class ClusterCommands:
    """The command lines for `/bin/sh`: the program, the hook and the check, and how peers are written."""

    program: str
    on_replace: str | None = None
    ready: str | None = None
    form: PeerForm = field(default_factory=PeerForm)
    hook_timeout: float = 60.0

    def check(self) -> ClusterCommands:
        """Return itself; raise UsageError for a command with a misspelt word."""
        for option, line in (("--exec", self.program), ("--on-replace", self.on_replace), ("--ready", self.ready)):
            if line is not None:
                words.check_command(option, line)
        self.form.check()
        return self


class ClusterCommand:
    """Runs the commands for a place. `report` gets lines for people."""

    def __init__(
        self,
        commands: ClusterCommands,
        held: HeldPlace,
        report: Callable[[str], None],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._commands = commands
        self._held = held
        self._report = report
        self._pause = pause

    def remove_replaced(self) -> None:
        """Run the hook for each machine that had the place, until it succeeds. Raises ClusterRefused."""
        start = self._held.start
        if self._commands.on_replace is not None and not start.forming:
            for machine in start.place.replaces:
                self._remove(machine, self._commands.on_replace)
        if start.place.replaces:
            self._held.report_replaced()

    def run(self) -> int:
        """Run the program until it ends, and return its exit code; 128 and the signal that ended it.

        Raises ClusterRefused when the place is lost; the program is stopped then.
        """
        found = words.values(self._held.name, self._held.start, self._commands.form)
        with ExitStack() as passing_on:
            with _blocked():  # a signal that comes now reaches the program
                program = self._popen(self._commands.program, found, preexec_fn=partial(_prepare, os.getpid()))
                passing_on.enter_context(_passed_on(program))
            about = f"place {found['place']}, first {found['first']}, state {found['state']}"
            self._report(f"cluster {self._held.name}: started the program ({about})")
            self._watch(program, found)
        code = program.returncode
        return code if code >= 0 else 128 - code

    def _watch(self, program: subprocess.Popen[bytes], found: Mapping[str, str]) -> None:
        """Wait for the end of the program; meanwhile report when it is ready, and stop it when the place is lost."""
        ready, next_check = False, 0.0
        while not _has_ended(program):
            if problem := self._held.problem:
                _end(program)
                raise ClusterRefused(self._held.name, f"{problem}; the program was stopped")
            if not ready and time.monotonic() >= next_check:
                ready = self._is_ready(found)
                next_check = time.monotonic() + _READY_EVERY
                if ready:
                    self._held.report_started()

    def _is_ready(self, found: Mapping[str, str]) -> bool:
        if self._commands.ready is None:
            return True
        return not self._finished(self._commands.ready, found, _READY_TIMEOUT, quiet=True)

    def _remove(self, machine: ClusterMachine, hook: str) -> None:
        found = words.values(self._held.name, self._held.start, self._commands.form, machine)
        pause = _FIRST_RETRY
        while problem := self._finished(hook, found, self._commands.hook_timeout):
            if self._held.problem:
                raise ClusterRefused(self._held.name, self._held.problem)
            text = f"cluster {self._held.name}: --on-replace for '{machine.identity}': {problem}, trying again"
            log.warning("cluster.hook_failed", extra={"error": text})
            self._pause(pause)
            pause = min(2 * pause, _LAST_RETRY)

    def _finished(self, line: str, found: Mapping[str, str], timeout: float, *, quiet: bool = False) -> str:
        """Run a command, and return how it failed; empty if it did not."""
        output = subprocess.DEVNULL if quiet else _STANDARD_ERROR
        process = self._popen(line, found, stdin=subprocess.DEVNULL, stdout=output, stderr=output if quiet else None)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            return f"killed after {timeout:g} s"
        finally:
            _kill(process)
        return f"exit code {process.returncode}" if process.returncode else ""

    def _popen(self, line: str, found: Mapping[str, str], **settings: Any) -> subprocess.Popen[bytes]:
        environment = {**os.environ, **words.variables(found)}
        command = ["/bin/sh", "-c", words.filled(line, found)]
        return subprocess.Popen(command, env=environment, start_new_session=True, **settings)


def _prepare(parent: int) -> None:
    """Prepare the child: it ends with its parent, and signals reach it again."""
    processes.die_with_parent(parent)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


@contextmanager
def _blocked() -> Iterator[None]:
    """Let signals wait until the end of the block."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


@contextmanager
def _passed_on(program: subprocess.Popen[bytes]) -> Iterator[None]:
    """Pass signals on to the program and what it has started."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        signal.signal(number, lambda received, _frame: _send(program, received))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _kill(program)


def _has_ended(program: subprocess.Popen[bytes]) -> bool:
    try:
        program.wait(_CHECK)
    except subprocess.TimeoutExpired:
        return False
    return True


def _end(program: subprocess.Popen[bytes]) -> None:
    _send(program, signal.SIGTERM)
    try:
        program.wait(_GRACE)
    except subprocess.TimeoutExpired:
        log.warning("cluster.killed", extra={"error": f"the program did not stop within {_GRACE:.0f} s: killed"})


def _send(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a command and what it has left in its process group."""
    processes.kill_group(process)
    process.wait()
