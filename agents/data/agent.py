"""Return the metadata of one of the node's agents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collective.agent import Reply, data

_FIELDS = ("version", "description", "author", "license", "url", "timeout")


@data
def agent(query: str, *, agents: Mapping[str, Mapping[str, Any]]) -> Reply:
    """Return the metadata of an agent, null for what it does not have; `present` is 0 if the node lacks the agent."""
    found = agents.get(query)
    return {"agent": query, "present": int(found is not None), **{key: (found or {}).get(key) for key in _FIELDS}}
