"""Run real nodes in one process, with a transport and a registry in memory."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from collective import signing
from collective.bundled import DDLS
from collective.config import ClientConfig
from collective.fleet.fleet import Fleet
from collective.node.actions.fork_server import ForkServer
from collective.node.actions.runner import Runner
from collective.node.facts import Facts
from collective.node.plugins import agents, plugin_set
from collective.node.plugins.plugin_set import Plugins
from collective.node.server import Server, ServerParts
from collective.node.storage.audit_log import AuditLog
from collective.node.storage.journal import Journal
from collective.policy import Policy, Rule
from collective.registry import NodeRecord
from collective.registry.memory import MemoryRegistry
from collective.transport import Transport
from collective.transport.memory import MemoryTransport
from collective.version import __version__

COLLECTIVE = "testing"


@dataclass(frozen=True)
class Network:
    """A collective in memory: what a caller uses, and its nodes by identity."""

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
    """Run nodes (facts by identity) with the code of real nodes and callers; only transport and registry are in memory.

    The nodes have the standard agents and those of `code` and `ddls`; actions run in real processes. Files are
    written below `folder`. Without a `policy` everything is allowed. `client` are keys of ClientConfig, `server` are
    fields of each node's ServerParts.
    """
    transport, registry = MemoryTransport(), MemoryRegistry()
    parts = {**node_parts(folder, code, ddls, server.get("plugins")), **server}
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


def node_parts(
    folder: Path, code: Sequence[Path] = (), ddls: Sequence[Path] = (), plugins: Plugins | None = None
) -> dict[str, Any]:
    """Return the parts that the nodes of one process can share: plugins, runner, and a policy that allows all.

    `plugins` are used in place of those in the folders.
    """
    folders = ([agents.bundled(), *code], [DDLS, *ddls], folder / "settings")
    return {
        "plugins": plugins or plugin_set.load(*folders),
        "runner": Runner(fork_server=_fork_server()),
        "policy": Policy([Rule("all callers may do everything")]),
    }


@cache
def _fork_server() -> ForkServer:
    """Return the fork server of all nodes in this process."""
    return ForkServer()


def make_node(
    folder: Path, identity: str, transport: Transport, facts: Mapping[str, Any], parts: Mapping[str, Any]
) -> Server:
    """Return a node of the collective COLLECTIVE on any transport; the caller opens it and serves in a thread.

    `parts` are fields of ServerParts: those of `node_parts`, and more.
    """
    facts_file = folder / f"{identity}.json"
    facts_file.write_text(json.dumps(facts), encoding="utf-8")
    if "journal" not in parts:
        parts = {**parts, "journal": Journal(folder / f"{identity}.sqlite", transport.now)}
    if "audit" not in parts:
        parts = {**parts, "audit": AuditLog(folder / f"{identity}.audit.jsonl")}
    keys = {"sign": signing.unsigned, "verify": signing.accept_unsigned}
    server_parts = ServerParts(transport=transport, facts=Facts([facts_file], []), **{**keys, **parts})
    return Server(COLLECTIVE, identity, server_parts)


def record(node: Server) -> NodeRecord:
    """Return the record that a node would publish to the registry."""
    versions = {name: agent.ddl.metadata["version"] for name, agent in node.agents.items()}
    digests = {name: agent.ddl.digest for name, agent in node.agents.items()}
    return NodeRecord(
        node.identity, __version__, node.facts.current, agents=versions, ddls=digests, refused=node.agents.refused
    )
