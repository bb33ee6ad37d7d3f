"""Answer with how a service is on this node. Settings are those of the agent `service`."""

from __future__ import annotations

from collective.agent import Aborted, Reply, Settings, data
from collective.agents import service as manager


@data
def service(query: str, *, settings: Settings, deadline: float) -> Reply:
    """Tell whether a service runs; one that is not there is `unknown`, so that `status!=running` finds such nodes."""
    manager.choose(settings)  # a node without any service manager has no answer at all
    try:
        return manager.status(query, settings=settings, deadline=deadline)
    except Aborted:
        return {"status": "unknown", "enabled": False}
