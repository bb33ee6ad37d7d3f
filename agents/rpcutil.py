"""Tell what a node is and how it does. Answered inside the daemon, so a busy node answers too.

`node` is the daemon's own server object; what it knows is handed out here, except its configuration: that may
hold what is nobody's business.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

import collective
from collective.agent import Reply, action
from collective.filters import look_up

if TYPE_CHECKING:
    from collective.ddl import DDL
    from collective.node.server import Server

_COUNTED = ["received", "validated", "unvalidated", "passed", "filtered", "expired", "duplicates", "denied", "replies"]
_DESCRIBED = ["version", "description", "author", "license", "timeout", "url"]
_STARTED = time.time()


@action
def ping() -> Reply:
    """Say that this node is there, and what time it thinks it is."""
    return {"pong": time.time()}


@action
def inventory(*, node: Server) -> Reply:
    """Tell all that filters can ask about."""
    return {
        "agents": sorted(node.agents),
        "facts": dict(node.facts.current),
        "classes": sorted(node.facts.classes),
        "version": collective.__version__,
        "collective": node.collective,
    }


@action
def get_fact(fact: str, *, node: Server) -> Reply:
    """Tell one fact; a dotted path reaches into nested ones."""
    return {"fact": fact, "value": look_up(node.facts.current, fact)}


@action
def get_facts(facts: str, *, node: Server) -> Reply:
    """Tell several facts."""
    paths = [path.strip() for path in facts.split(",") if path.strip()]
    return {"values": {path: look_up(node.facts.current, path) for path in paths}}


@action
def agent_inventory(*, node: Server) -> Reply:
    """Tell what the agents of this node can do."""
    return {"agents": [_describe(name, agent.ddl) for name, agent in sorted(node.agents.items())]}


def _describe(name: str, ddl: DDL) -> dict[str, Any]:
    described = {key: ddl.metadata.get(key) for key in _DESCRIBED}
    return {"agent": name, **described, "actions": sorted(ddl.actions)}


@action
def daemon_stats(*, node: Server) -> Reply:
    """Tell how the daemon does, and what became of the requests that it has received."""
    return {
        "version": collective.__version__,
        "pid": os.getpid(),
        "starttime": _STARTED,
        "threads": threading.active_count(),
        "uptime": time.time() - _STARTED,
        **{name: node.counts[name] for name in _COUNTED},
        "running": node.workshop.running,
        "rss_bytes": _rss_bytes(),
        "audit_head": node.audit_head,
    }


def _rss_bytes() -> int:
    """Return the daemon's resident memory (proc(5): the second field of statm, in pages)."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - a kernel file
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@action
def collective_info(*, node: Server) -> Reply:
    """Tell which collective this node belongs to."""
    return {"collective": node.collective, "collectives": [node.collective]}


@action
def get_data(source: str, query: str, *, node: Server, caller: str, deadline: float) -> Reply:
    """Tell what a data function answers, as a filter would see it."""
    return node.data.ask(source, query, caller, deadline - time.monotonic())
