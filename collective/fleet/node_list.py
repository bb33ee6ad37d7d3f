"""List the nodes that a caller knows: from its known keys, and from the registry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from collective.config import ClientConfig
from collective.errors import SignatureError, TransportError
from collective.fleet import registry_names
from collective.fleet.known_nodes import KnownNodes
from collective.fleet.node_keys import open_registry
from collective.registry import Contents, NodeRecord
from collective.signing.keys import PublicKey

ALIVE, STALE, STOPPED, REVOKED, INVALID, UNKNOWN = "alive", "stale", "stopped", "revoked", "invalid", "unknown"


@dataclass(frozen=True)
class ListedNode:
    """A node and its state.

    alive: seen recently · stale: not seen recently · stopped: stopped cleanly · revoked: its key is revoked ·
    invalid: its record cannot be read · unknown: only its key is known, it is not in the registry

    `last_seen` is in Unix seconds, `age` seconds before now. `key` is the trusted key, or the registered one. `problem`
    is why a record is invalid.
    """

    identity: str
    state: str
    last_seen: float | None = None
    age: float | None = None
    version: str | None = None
    agents: tuple[str, ...] = ()
    key: PublicKey | None = None
    problem: str | None = field(default=None, compare=False)


def list_nodes(config: ClientConfig) -> tuple[list[ListedNode], TransportError | None]:
    """Return the nodes of a collective; the error is why the registry, and so most of them, cannot be read."""
    known = KnownNodes(config.state, config.collective)
    try:
        registry = open_registry(config)
        if registry is None:
            return listed(Contents(), 0.0, known), None
        contents, now = registry.read(), registry.now()
    except TransportError as error:
        return listed(Contents(), 0.0, known), error
    known.update(contents.revocations)
    registry_names.save(config.state, config.collective, contents)
    return listed(contents, now, known), None


def listed(contents: Contents, now: float, known: KnownNodes) -> list[ListedNode]:
    """Return all nodes, sorted by identity."""
    nodes = {record.identity: _registered(record, now, known) for record in contents.records}
    for name, problem in contents.invalid.items():
        nodes[name] = ListedNode(name, INVALID, key=known.keys.get(name), problem=problem)
    for name in {*known.keys, *known.revoked.values()} - nodes.keys():
        nodes[name] = ListedNode(name, REVOKED if known.is_revoked(name) else UNKNOWN, key=known.keys.get(name))
    return [nodes[name] for name in sorted(nodes)]


def _registered(record: NodeRecord, now: float, known: KnownNodes) -> ListedNode:
    return ListedNode(
        record.identity,
        next(_states(record, now, known)),
        record.last_seen,
        max(0.0, now - record.last_seen),
        record.version,
        tuple(sorted(record.agents)),
        known.keys.get(record.identity) or _key(record),
    )


def _states(record: NodeRecord, now: float, known: KnownNodes) -> Iterator[str]:
    """Yield the states that apply, the most important one first."""
    if known.is_revoked(record.identity, record.public_key):
        yield REVOKED
    if record.left is not None:
        yield STOPPED
    yield ALIVE if record.alive(now) else STALE


def _key(record: NodeRecord) -> PublicKey | None:
    try:
        return PublicKey.from_line(record.public_key) if record.public_key else None
    except SignatureError:
        return None
