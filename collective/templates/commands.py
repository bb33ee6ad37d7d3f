"""Run the commands of a template: in a process group of their own, which is killed when they take too long.

    commands = Commands(timeout=60.0, identity=as_user("haproxy"))
    commands.run("systemctl reload haproxy")     None, or what was wrong, with the last lines of its output
    commands.stop()                              from another thread: kills the command that runs

Lines are those of the settings, with the path of the candidate: nothing that nodes have sent is part of a command.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Mapping
from typing import Any

from collective.last_output import LastOutput
from collective.processes import kill_group, signal_name

_OUTPUT = 2048  # bytes kept, the last ones
_LINES = 3  # shown


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
        output = LastOutput(process.stdout, _OUTPUT)
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
        last = output.lines(_LINES)
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


def _problem(code: int) -> str | None:
    if code < 0:
        return f"ended by {signal_name(-code)}"
    return f"exit code {code}" if code else None


def _kill(process: subprocess.Popen[bytes]) -> None:
    kill_group(process)
    process.wait()
