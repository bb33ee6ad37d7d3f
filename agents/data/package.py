"""Return the state of a package. Uses the settings of the agent `package`."""

from __future__ import annotations

from collective.agent import Reply, Settings, data
from collective.agents import package as manager


@data
def package(query: str, *, settings: Settings, deadline: float) -> Reply:
    """Return the installed version of a package, null if absent; `status` is the full version, or `absent`."""
    provider = manager.choose(settings)
    found = provider.query(query, deadline)
    parts = ("version", "release", "epoch", "arch")
    known = {part: getattr(found, part) or None for part in parts}
    return {"status": found.ensure, "installed": found.installed, **known, "provider": provider.name}
