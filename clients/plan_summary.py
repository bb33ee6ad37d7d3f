"""What a saved plan does, in lines of text: shown before it is applied or approved.

shell run command=uptime on 2 nodes (web[1-2])
  before: service stop service=app
  gate: cmd:./check.sh
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from collective.clients.render.formatting import in_words
from collective.nodesets import fold_any
from collective.text import escape_controls, plural


def call_line(document: Mapping[str, Any], nodes: Sequence[str]) -> str:
    """Return the action of a saved plan with its inputs, and the nodes."""
    return escape_controls(f"{_call(document)} on {plural(len(nodes), 'node')} ({fold_any(nodes)})")


def step_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each hook and gate of a saved plan."""
    for name, hook in document["hooks"].items():
        yield escape_controls(f"{name}: {_call(hook)}")
    for gate in document["gates"]["gates"]:
        yield escape_controls(f"gate: {gate}")


def _call(step: Mapping[str, Any]) -> str:
    inputs = [f"{name}={in_words(value)}" for name, value in step["data"].items()]
    return " ".join([step["agent"], step["action"], *inputs])
