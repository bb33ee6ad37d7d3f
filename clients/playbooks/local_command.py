"""Run a command on the caller's machine, in a process group of its own that ends with it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from collective.processes import end_command

TIMEOUT = 60.0  # seconds, if the step has no timeout
MOST_OUTPUT = 1024 * 1024  # characters of each stream
_LONGEST = 200  # characters of its output in a message


def run_command(arguments: Sequence[str], stdin: str, folder: Path, timeout: float) -> tuple[Mapping[str, Any], str]:
    """Run a command; return its exit code and output, and why it failed (empty: it exited with 0)."""
    found: dict[str, Any] = {"exit": None, "stdout": "", "stderr": "", "json": None}
    try:
        process = subprocess.Popen(
            list(arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            cwd=folder,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return found, f"'{arguments[0]}' cannot be run: {getattr(error, 'strerror', None) or error}"
    try:
        stdout, stderr = process.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired:
        return found, f"'{arguments[0]}' did not end within {timeout:g} s"
    finally:
        end_command(process)
    found |= {"exit": process.returncode, "stdout": stdout, "stderr": stderr, "json": _json(stdout)}
    if max(len(stdout), len(stderr)) > MOST_OUTPUT:
        return found, f"'{arguments[0]}' wrote more than {MOST_OUTPUT} characters"
    return found, _problem(process.returncode, stderr or stdout)


def _problem(code: int, output: str) -> str:
    if not code:
        return ""
    lines = output.strip().splitlines()
    return f"exit code {code}" + (f": {lines[-1][:_LONGEST]}" if lines else "")


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
