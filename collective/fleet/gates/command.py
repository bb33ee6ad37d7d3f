"""A gate that runs a command on the caller's machine: it is open when the command exits with 0."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Sequence

from collective.errors import UsageError
from collective.fleet.gates import GateView
from collective.processes import end_command

TIMEOUT = 60.0  # seconds for the command of a gate
_LONGEST = 200  # characters of its output in a message


class CommandGate:
    """A command as a list of arguments; no shell interprets it. The rollout is JSON on its standard input."""

    unattended = True

    def __init__(self, arguments: Sequence[str], timeout: float = TIMEOUT) -> None:
        self.name = f"cmd:{shlex.join(arguments)}"
        self._arguments = list(arguments)
        self._timeout = timeout

    @classmethod
    def read(cls, option: str, text: str) -> CommandGate:
        """Read a command line; raise UsageError for one with an open quote."""
        try:
            arguments = shlex.split(text)
        except ValueError as error:
            raise UsageError(f"{option} 'cmd:{text}': {str(error).lower()}") from None
        if not arguments:
            raise UsageError(f"{option} 'cmd:{text}': the command is missing")
        return cls(arguments)

    def check(self, view: GateView) -> str:
        """Run the command; return its exit code and the last line of its output unless it exits with 0."""
        try:
            process = subprocess.Popen(
                self._arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            return f"cannot be run: {getattr(error, 'strerror', None) or error}"
        try:
            output, _ = process.communicate(json.dumps(view.document), timeout=self._timeout)
        except subprocess.TimeoutExpired:
            return f"did not end within {self._timeout:.0f} s"
        finally:
            end_command(process)
        lines = output.strip().splitlines()
        detail = f": {lines[-1][:_LONGEST]}" if lines else ""
        return f"exit code {process.returncode}{detail}" if process.returncode else ""
