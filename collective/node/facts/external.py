"""Run one command that tells facts. The runner imports this file in a process of its own, like an agent's."""

from __future__ import annotations

from collections.abc import Sequence

from collective.agent import Aborted, Reply, run
from collective.node.facts.formats import LARGEST


def output(command: Sequence[str]) -> Reply:
    """Return the `stdout` of a command; raise Aborted when it fails, with the last line that it said."""
    done = run(command, keep=LARGEST)
    if done.exitcode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise Aborted(f"exit code {done.exitcode}: {lines[-1] if lines else 'it said nothing'}")
    return {"stdout": done.stdout}
