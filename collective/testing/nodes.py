"""Run nodes in this process, with the real node and caller code and an in-memory network."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collective import __version__, catalog, signing
from collective.config import ClientConfig
from collective.fleet.fleet import Fleet
from collective.node.actions.runner import Runner
from collective.node.facts import Facts
from collective.node.plugins import agents, plugin_set
from collective.node.server import Server
from collective.node.storage.audit_log import AuditLog
from collective.node.storage.journal import Journal
from collective.policy import Policy, Rule
from collective.registry import NodeRecord
from collective.registry.memory import MemoryRegistry
from collective.transport import Transport
from collective.transport.memory import MemoryTransport

COLLECTIVE = "testing"


@dataclass(frozen=True)
class Network:
    """A collective in memory: the caller's fleet, and the nodes by identity."""

    fleet: Fleet
    transport: MemoryTransport
    registry: MemoryRegistry
    nodes: Mapping[str, Server]


@contextmanager
def memory_fleet(
    folder: Path,
    nodes: Mapping[str, Mapping[str, Any]],
    *,
    code: Sequence[Path] = (),
    ddls: Sequence[Path] = (),
    policy: Policy | None = None,
    client: Mapping[str, Any] | None = None,
    **server: Any,
) -> Iterator[Network]:
    """Run nodes (facts by identity) with the real node and caller code; only the transport and registry are in memory.

    Nodes have the standard agents and those in the folders `code` and `ddls`; actions run in real processes. Files are
    written to `folder`. Without a `policy`, everything is allowed. `client` are fields of ClientConfig, `server`
    further arguments of each Server.
    """
    transport, registry = MemoryTransport(), MemoryRegistry()
    parts = {**node_parts(folder, code, ddls), **server}
    if policy:
        parts["policy"] = policy
    servers, threads = {}, []
    for identity, facts in nodes.items():
        servers[identity] = node = make_node(folder, identity, transport, facts, parts)
        node.open()
        registry.put(record(node))
        threads.append(threading.Thread(target=node.serve, name=identity, daemon=True))
    config = ClientConfig(COLLECTIVE, state=folder / "state", ddls=list(ddls), **(client or {}))
    with Fleet(config, transport, registry) as fleet:
        for thread in threads:
            thread.start()
        try:
            yield Network(fleet, transport, registry, servers)
        finally:
            transport.close()
            for node in servers.values():
                node.stop(timeout=5.0)
            for thread in threads:
                thread.join()


def node_parts(folder: Path, code: Sequence[Path] = (), ddls: Sequence[Path] = ()) -> dict[str, Any]:
    """Return what nodes of one process can share: plugins, runner, and a policy that allows all."""
    folders = ([agents.bundled(), *code], [catalog.bundled(), *ddls], folder / "settings")
    return {
        "plugins": plugin_set.load(*folders),
        "runner": Runner(),
        "policy": Policy([Rule("everybody may do everything")]),
    }


def make_node(
    folder: Path, identity: str, transport: Transport, facts: Mapping[str, Any], parts: Mapping[str, Any]
) -> Server:
    """Return a node of the collective COLLECTIVE on any transport: open it, and serve in a thread of its own.

    `parts` are arguments of Server: those of `node_parts`, and more.
    """
    facts_file = folder / f"{identity}.json"
    facts_file.write_text(json.dumps(facts), encoding="utf-8")
    if "journal" not in parts:
        parts = {**parts, "journal": Journal(folder / f"{identity}.sqlite", transport.now)}
    if "audit" not in parts:
        parts = {**parts, "audit": AuditLog(folder / f"{identity}.audit.jsonl")}
    return Server(
        collective=COLLECTIVE,
        identity=identity,
        transport=transport,
        facts=Facts([facts_file], []),
        **{"sign": signing.unsigned, "verify": signing.accept_unsigned, **parts},
    )


def record(node: Server) -> NodeRecord:
    """Return what a node would say of itself to the registry."""
    versions = {name: agent.ddl.metadata["version"] for name, agent in node.agents.items()}
    return NodeRecord(node.identity, __version__, node.facts.current, agents=versions, refused=node.agents.refused)
