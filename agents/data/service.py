"""Return the state of a service. Uses the settings of the agent `service`."""

from __future__ import annotations

from collective.agent import Aborted, Reply, Settings, data
from collective.agents import service as manager


@data
def service(query: str, *, settings: Settings, deadline: float) -> Reply:
    """Return the state of a service; without one `status` is `unknown`, so that `status!=running` matches the node."""
    manager.choose(settings)  # fails on a node without a service manager
    try:
        return manager.status(query, settings=settings, deadline=deadline)
    except Aborted:
        return {"status": "unknown", "enabled": None}
