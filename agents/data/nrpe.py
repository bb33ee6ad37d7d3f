"""Answer with the result of one of the node's NRPE checks. Settings are those of the agent `nrpe`."""

from __future__ import annotations

from collective.agent import Aborted, Reply, Settings, data
from collective.agents import nrpe as checks


@data
def nrpe(query: str, *, settings: Settings, deadline: float) -> Reply:
    """Run a check and tell how it ended: a check that finds fault is an answer too."""
    try:
        return checks.runcommand(query, settings=settings, deadline=deadline)
    except Aborted as found:
        if "exitcode" not in found.data:
            raise
        return found.data
