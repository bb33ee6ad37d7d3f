"""Return the metadata of one of the node's agents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collective.agent import Reply, data

_FIELDS = ("version", "description", "author", "license", "url", "timeout")


@data
def agent(query: str, *, agents: Mapping[str, Mapping[str, Any]]) -> Reply:
    """Return the metadata of an agent; `present` is 0 if the node does not have it."""
    found = agents.get(query)
    if found is None:
        return {"agent": query, "present": 0}
    return {"agent": query, "present": 1, **{key: found[key] for key in _FIELDS if key in found}}
