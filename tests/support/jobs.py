"""Background jobs of one node in memory: make them, and ask for their results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from collective.fleet.background import Background
from collective.messages import Reply, Request
from collective.node.jobs.store import RUNNING, SCHEDULED, StoredJob
from collective.node.storage.database import Database
from collective.testing import Network
from support.node_server import call_node, request
from support.waiting import wait_until

OpenJobs = Callable[[Path | None], Database]  # memory for None

ALICE, BOB = "alice@example.com", "bob@example.com"


def job(line: str, *, caller: str = ALICE, **times: float) -> Request:
    """Return a request that runs a command line as a job."""
    background = Background(**times).to_data()
    return request(
        "shell", "run", data={"command": line, "timeout": 30}, caller=caller, job=background, critical=("job",)
    )


def control(network: Network, action: str, caller: str = ALICE, **data: Any) -> Reply:
    """Call an action of the agent `control`."""
    return call_node(network, request("control", action, data=data, caller=caller))


def result(network: Network, job_id: str) -> dict[str, Any]:
    """Wait until a job has ended, and return its state and result."""
    found: dict[str, Any] = {}

    def ended() -> bool:
        found.update(control(network, "result", id=job_id, all=True).data)
        return found["state"] not in (SCHEDULED, RUNNING)

    wait_until(ended, 30)
    return found


def stored(job_id: str = "a", caller: str = ALICE, **fields: Any) -> StoredJob:
    """Return a scheduled job as it is stored, with `fields`."""
    return replace(StoredJob(job_id, None, "d", caller, "shell", "run", 1.0, 5.0, 60.0, 10.0, body="{}"), **fields)
