"""Return one of the node's facts."""

from __future__ import annotations

import json

from collective.agent import Facts, Reply, data
from collective.filters import look_up


@data
def fact(query: str, *, facts: Facts) -> Reply:
    """Return the fact at a dotted path; mappings and lists as JSON text, null if the node does not have it."""
    value = look_up(facts, query)
    if value is None:
        return {"exists": False, "value": None, "value_encoding": None}
    if isinstance(value, (dict, list)):
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        return {"exists": True, "value": text, "value_encoding": "application/json"}
    return {"exists": True, "value": value, "value_encoding": "text/plain"}
