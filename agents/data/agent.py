"""Answer with what the DDL of one of the node's agents says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collective.agent import Reply, data

_TOLD = ("version", "description", "author", "license", "url", "timeout")


@data
def agent(query: str, *, agents: Mapping[str, Mapping[str, Any]]) -> Reply:
    """Tell about an agent; of one that the node does not have, only that it is not present."""
    found = agents.get(query)
    if found is None:
        return {"agent": query, "present": 0}
    return {"agent": query, "present": 1, **{key: found[key] for key in _TOLD if key in found}}
