"""The registry protocol: nodes publish what they are, callers read it to know which nodes to expect.

    node     put (at start, and after a change) ─ heartbeat (every period) ─ leave (at a clean stop)
    caller   read
    prune    read, identities ─ remove (nodes that are gone)
    revoke   record_revocation (keys that no caller may accept, or may accept again)
    watcher  read ─ mark_terminated (nodes whose EC2 instances are terminated)

Two machines with the same identity are detected by their heartbeats: each start of a daemon is an `instance`, and a
heartbeat that finds another instance in the registry returns it.

It is implemented in memory and on DynamoDB. Times are Unix seconds by the server's clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

CLUSTER = "#cluster "  # begins the keys of clusters (collective.cluster); no identity contains these characters
PERIODS_ALIVE = 3  # a node is alive when it was seen within this many of its periods


@dataclass(frozen=True)
class NodeRecord:
    """What a node publishes about itself.

    `public_key` verifies its replies, in the form of a `.pub` file. `agents` are versions by agent, `ddls` the digests
    of their DDLs; `refused` are the agents that failed to load, and `outdated` those of which a newer version failed to
    load, with the reason. `problems` are lines about policy, key files, facts, data functions and settings that are not
    valid now. `policy` is the digest of the policy in force, empty without a valid file. `omitted` counts the entries
    of a member that did not fit into the registry. `period` is the time between heartbeats in seconds. `instance`
    differs for each start of the daemon. `contested` is when another machine was last found to use this identity,
    `left` when the daemon stopped cleanly, `terminated` when EC2 reported that its instance is terminated.
    """

    identity: str
    version: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    agents: Mapping[str, str] = field(default_factory=dict)
    ddls: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    outdated: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    omitted: Mapping[str, int] = field(default_factory=dict)
    public_key: str = ""
    policy: str = ""
    period: float = 300.0
    instance: str = ""
    contested: float | None = None
    last_seen: float = 0.0
    left: float | None = None
    terminated: float | None = None

    def alive(self, now: float) -> bool:
        """Return whether the node is expected to answer: seen recently and not stopped or terminated since."""
        recent = now - self.last_seen <= PERIODS_ALIVE * self.period
        return recent and self.left is None and not self.is_terminated

    @property
    def is_terminated(self) -> bool:
        """Whether the node's instance was terminated; a later heartbeat refutes that."""
        return self.terminated is not None and self.last_seen <= self.terminated

    def is_contested(self, now: float) -> bool:
        """Return whether two machines were recently found to use this identity."""
        return self.contested is not None and now - self.contested <= PERIODS_ALIVE * self.period


@dataclass(frozen=True)
class Revocation:
    """A node's key that no caller may accept, by fingerprint. `active` is false when it was readmitted."""

    node: str
    fingerprint: str
    active: bool = True


@dataclass(frozen=True)
class Contents:
    """Everything in the registry: `records` that can be read, `invalid` records with the reason, and revoked keys."""

    records: list[NodeRecord] = field(default_factory=list)
    invalid: Mapping[str, str] = field(default_factory=dict)
    revocations: Sequence[Revocation] = ()


class Nodes(Protocol):
    """A registry as callers use it. Every method may raise Unreachable, AccessDenied and NotFound."""

    def now(self) -> float:
        """Return the server's time in Unix seconds."""
        ...

    def read(self) -> Contents:
        """Return every published node that was not removed, in no particular order, and the revoked keys."""
        ...


class Registry(Nodes, Protocol):
    """A registry as nodes use it. Every method may raise the same errors."""

    def put(self, record: NodeRecord) -> None:
        """Publish a node's record, seen now."""
        ...

    def heartbeat(self, identity: str, instance: str) -> str | None:
        """Record that an instance of a node is alive, and return the instance in the registry.

        If that is another instance or None, nothing was written.
        """
        ...

    def leave(self, identity: str, instance: str) -> None:
        """Record that an instance of a node has stopped cleanly; ignored when another instance has registered."""
        ...


class PrunableNodes(Nodes, Protocol):
    """A registry as `crpc nodes prune` uses it. Every method may raise the same errors."""

    def identities(self) -> set[str]:
        """Return the identity of every node, including records that this version cannot read."""
        ...

    def remove(self, record: NodeRecord) -> bool:
        """Delete a node's record; return False, and keep it, when the node was seen since `record` was read."""
        ...


class MarkableNodes(Nodes, Protocol):
    """A registry as `membership/ec2_events.py` uses it. Every method may raise the same errors."""

    def mark_terminated(self, record: NodeRecord) -> None:
        """Record that the instance of a node is terminated; ignored when another daemon has registered since."""
        ...


class RevocableNodes(Nodes, Protocol):
    """A registry as `crpc nodes revoke` and `trust` use it. Every method may raise the same errors."""

    def record_revocation(self, revocation: Revocation) -> None:
        """Store a revocation, or the readmission of a key, for all callers."""
        ...
