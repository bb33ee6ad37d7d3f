"""The events of a saved run, as JSON lines; a line that is not an event of this version is left to the caller."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

_EVENTS: dict[str, dict[str, type | tuple[type, ...]]] = {  # the members that a line must have, with their types
    "begin": {"run": str, "time": (int, float), "agent": str, "action": str, "collective": str, "caller": str},
    "request": {"data": dict, "expected": list, "ddl": dict, "timeout": (int, float), "ttl": (int, float)},
    "sent": {"request": str},
    "reply": {"sender": str, "statuscode": int, "statusmsg": str, "data": dict},
    "silent": {"nodes": list},
    "gate": {"wave": int, "closed": str},
    "plan": {"document": dict},
    "taken": {"id": str, "caller": str, "time": (int, float)},
    "order": {"id": str, "order": str, "caller": str, "time": (int, float)},
    "missing": {"silent": list, "skipped": list, "rejected": list, "absent": list},
    "end": {"outcomes": dict, "exit": int},
}


def parsed(line: bytes) -> Mapping[str, Any] | None:
    """Return a line as an event with its required members; None if it is not one."""
    try:
        return valid(json.loads(line))
    except (ValueError, RecursionError):
        return None


def valid(entry: Any) -> Mapping[str, Any] | None:
    """Return an event if it has its required members; else None."""
    required = _EVENTS.get(entry.get("event", "")) if isinstance(entry, dict) else None
    if required is None or not all(isinstance(entry.get(name), kind) for name, kind in required.items()):
        return None
    return entry if all(isinstance(node, str) for node in _nodes(entry)) else None


def _nodes(entry: Mapping[str, Any]) -> Iterator[Any]:
    for name in ("expected", "nodes", "silent", "skipped", "rejected", "absent"):
        value = entry.get(name)
        yield from value if isinstance(value, list) else ()
