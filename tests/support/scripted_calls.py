"""Calls to a scripted fleet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from collective.fleet.call import Call
from support.scripted_fleet import Part, Scripted

SILENT = Part(after=None)
TIMEOUT = 10.0


def network_of(nodes: str, **odd: Part) -> Scripted:
    """Return a fleet with a node for each letter, which replies after a second unless it is in `odd`."""
    return Scripted({**dict.fromkeys(nodes, Part()), **odd})


def call_shell(
    network: Scripted, folder: Path, *, client: dict[str, Any] | None = None, timeout: float = TIMEOUT, **options: Any
) -> Call:
    """Call an action that is not idempotent."""
    return network.fleet(folder, **(client or {})).call("shell", "run", {"command": "true"}, timeout=timeout, **options)
