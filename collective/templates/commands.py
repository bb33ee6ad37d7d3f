"""Run the commands of a template: in a process group of their own, which is killed when they take too long.

    commands = Commands(timeout=60.0, identity=as_user("haproxy"))
    commands.run("systemctl reload haproxy")     None, or what was wrong, with the last lines of its output
    commands.stop()                              from another thread: kills the command that runs

Lines are those of the settings, with the path of the candidate: nothing that nodes have sent is part of a command.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Mapping
from typing import IO, Any

from collective.processes import kill_group, signal_name
from collective.text import escape_controls

_OUTPUT = 2048  # bytes kept, the last ones
_LINES = 3  # shown
_LAST_OUTPUT = 1.0  # seconds to wait for it, because a process that the command leaves running may keep the pipe open


class Stopped(Exception):
    """A command was killed because the process ends."""


class Commands:
    """Runs one command at a time. `timeout` is in seconds, `identity` has arguments of Popen, such as the user."""

    def __init__(self, timeout: float, identity: Mapping[str, Any]) -> None:
        self._timeout = timeout
        self._identity = dict(identity)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def run(self, line: str) -> str | None:
        """Run a line with `/bin/sh`; return None if it succeeds, or what is wrong. Raises Stopped."""
        try:
            process = self._start(line)
        except OSError as error:
            return f"cannot be started: {error.strerror}"
        output = _LastOutput(process.stdout)
        try:
            process.wait(self._timeout)
            problem = _problem(process.returncode)
        except subprocess.TimeoutExpired:
            _kill(process)
            problem = f"killed after {self._timeout:g} s"
        except BaseException:  # an interrupt
            _kill(process)
            raise
        with self._lock:
            self._process = None
            if self._stopped and problem:
                raise Stopped
        last = output.lines()
        return f"{problem}: {last}" if problem and last else problem

    def stop(self) -> None:
        """Kill the command that runs, and start no more."""
        with self._lock:
            self._stopped = True
            if self._process:
                kill_group(self._process)

    def _start(self, line: str) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._stopped:
                raise Stopped
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", line],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **self._identity,
            )
            return self._process


class _LastOutput:
    """Reads a pipe in the background, and keeps the end."""

    def __init__(self, pipe: IO[bytes] | None) -> None:
        assert pipe is not None  # noqa: S101 - Popen was called with PIPE
        self._pipe = pipe
        self._kept = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def lines(self) -> str:
        """Return the last lines, as one line; those that come later are not waited for."""
        self._thread.join(_LAST_OUTPUT)
        lines = [one.strip() for one in self._kept.decode(errors="replace").splitlines() if one.strip()]
        return escape_controls(" | ".join(lines[-_LINES:]))

    def _read(self) -> None:
        with self._pipe:
            while chunk := os.read(self._pipe.fileno(), 65536):
                self._kept = (self._kept + chunk)[-_OUTPUT:]


def _problem(code: int) -> str | None:
    if code < 0:
        return f"ended by {signal_name(-code)}"
    return f"exit code {code}" if code else None


def _kill(process: subprocess.Popen[bytes]) -> None:
    kill_group(process)
    process.wait()
