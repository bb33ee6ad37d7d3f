"""Report a node's identity, inventory and health.

Its actions run inside the daemon, so a busy node answers them too. `node` is what they see of the daemon
(`collective.node_info`), which does not include its configuration: that may hold secrets.
"""

from __future__ import annotations

import os
import re
import threading
import time
from typing import Any

from collective.agent import Aborted, Reply, action
from collective.ddl import DDL
from collective.filters import look_up
from collective.node_info import NodeInfo
from collective.version import __version__

_COUNTED = ["received", "validated", "unvalidated", "passed", "filtered", "expired", "duplicates", "denied", "replies"]
_DESCRIBED = ["version", "description", "author", "license", "timeout", "url"]

_PATH = re.compile(r'(?:"(?:[^"]|"")*"|[^,"]|")+')  # a comma in a quoted key does not end a path


@action
def ping() -> Reply:
    """Answer with the node's time."""
    return {"pong": time.time()}


@action
def inventory(*, node: NodeInfo) -> Reply:
    """Return everything that filters can test."""
    return {
        "agents": sorted(node.agents),
        "facts": dict(node.facts),
        "classes": sorted(node.classes),
        "version": __version__,
        "collective": node.collective,
        "refused_agents": dict(node.refused_agents),
    }


@action
def get_fact(fact: str, *, node: NodeInfo) -> Reply:
    """Return one fact; a dotted path selects a nested one."""
    return {"fact": fact, "value": look_up(node.facts, fact)}


@action
def get_facts(facts: str, *, node: NodeInfo) -> Reply:
    """Return several facts."""
    paths = [path.strip() for path in _PATH.findall(facts) if path.strip()]
    return {"values": {path: look_up(node.facts, path) for path in paths}}


@action
def agent_inventory(*, node: NodeInfo) -> Reply:
    """Return the node's agents with their metadata and actions."""
    agents = [_describe(name, ddl) for name, ddl in sorted(node.agents.items())]
    return {"agents": agents, "refused_agents": dict(node.refused_agents)}


def _describe(name: str, ddl: DDL) -> dict[str, Any]:
    described = {key: ddl.metadata.get(key) for key in _DESCRIBED}
    return {"agent": name, **described, "digest": ddl.digest, "actions": sorted(ddl.actions)}


@action
def get_ddl(agent: str, *, node: NodeInfo) -> Reply:
    """Return the DDL of an agent, for callers that lack it."""
    if agent not in node.agents:
        raise Aborted(f"this node has no agent '{agent}'")
    ddl = node.agents[agent]
    return {"agent": agent, "version": ddl.metadata["version"], "digest": ddl.digest, "ddl": ddl.text}


@action
def daemon_stats(*, node: NodeInfo) -> Reply:
    """Return the daemon's version, resources and request counters."""
    return {
        "version": __version__,
        "pid": os.getpid(),
        "starttime": node.started,
        "threads": threading.active_count(),
        "uptime": time.time() - node.started,
        **{name: node.count(name) for name in _COUNTED},
        "running": node.running,
        "refused_agents": dict(node.refused_agents),
        "problems": list(node.problems),
        "rss_bytes": _rss_bytes(),
        "audit_head": node.audit_head,
    }


def _rss_bytes() -> int:
    """Return the daemon's resident memory (proc(5): the second field of statm, in pages)."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - a kernel file
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@action
def collective_info(*, node: NodeInfo) -> Reply:
    """Return the collective that the node belongs to."""
    return {"collective": node.collective, "collectives": [node.collective]}


@action
def get_data(source: str, query: str, *, node: NodeInfo, caller: str, deadline: float) -> Reply:
    """Return the output of a data function, as a filter would see it."""
    return node.query(source, query, caller, deadline - time.monotonic())
