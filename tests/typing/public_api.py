"""Use every part of the caller's public API, as a program of a user would; `make types` checks it.

`tests/test_public_api.py` runs the functions against nodes in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import collective
from collective import (
    Call,
    ClientConfig,
    CollectiveError,
    Fleet,
    NoNodes,
    Outcomes,
    Pace,
    Reply,
    Targets,
    TooManyTargets,
    TransportError,
    load_client,
)


def connect(path: Path, collective_name: str) -> Fleet:
    """Return the fleet of another collective than the configured one."""
    config: ClientConfig = replace(load_client(path), collective=collective_name)
    return Fleet.connect(config)


def values_of_a_fact(fleet: Fleet, fact: str) -> dict[str, Any]:
    """Return the value of a fact on every node, by node."""
    call: Call = fleet.call("rpcutil", "get_fact", {"fact": fact})
    return {reply.sender: reply.data["value"] for reply in call if reply.ok}


def select(names: list[str]) -> list[Targets]:
    """Return every way to select nodes."""
    return [
        Targets(),
        Targets(nodes=names, discovery_timeout=1.0, limit="50%", limit_seed=1),
        Targets.select(facts=["role=web"], agents=["rpcutil"], identities=["/^web/"]).limited(1, seed=7),
        Targets.select(expression="role=web or role=mail", nodes=names),
        Targets(method="broadcast", discovery_timeout=0.5),
    ]


def rollout(fleet: Fleet, targets: Targets, pace: Pace) -> tuple[list[Reply], Outcomes]:
    """Run an action on some nodes at a time, and return the replies and what became of every node."""
    call = fleet.call(
        "rpcutil", "ping", {}, targets=targets, pace=pace, timeout=5.0, ttl=30, confirm=lambda nodes: len(nodes) < 100
    )
    replies = list(call)
    counts: Mapping[str, int] = call.outcomes.counts()
    assert counts["ok"] == len(call.outcomes.ok)
    return replies, call.outcomes


def explain(fleet: Fleet, targets: Targets) -> str:
    """Return the nodes that would be reached, or why there are none."""
    try:
        return ", ".join(fleet.discover(targets, "rpcutil", verify=True))
    except NoNodes as error:
        return f"none: {error}"
    except (TooManyTargets, TransportError) as error:
        return f"error: {error}"
    except CollectiveError as error:
        return f"collective {collective.__version__}: {error}"
