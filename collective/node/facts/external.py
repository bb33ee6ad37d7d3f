"""Run a command that prints facts. The runner imports this file in a process of its own, like an agent."""

from __future__ import annotations

from collections.abc import Sequence

from collective.agent import Aborted, Reply, run
from collective.fact_files.formats import MAX_SOURCE


def output(command: Sequence[str]) -> Reply:
    """Return the `stdout` of a command. Raise Aborted with the last line of its stderr when it fails."""
    done = run(command, keep=MAX_SOURCE)
    if done.exitcode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise Aborted(f"exit code {done.exitcode}: {lines[-1] if lines else 'no error output'}")
    return {"stdout": done.stdout}
