"""Return the result of one of the node's NRPE checks. Uses the settings of the agent `nrpe`."""

from __future__ import annotations

from collective.agent import Aborted, Reply, Settings, data
from collective.agents import nrpe as checks


@data
def nrpe(query: str, *, settings: Settings, deadline: float) -> Reply:
    """Run a check and return its result, also if it is not OK."""
    try:
        return checks.runcommand(query, settings=settings, deadline=deadline)
    except Aborted as error:
        if "exitcode" not in error.data:
            raise
        return error.data
