"""Who exists: nodes publish what they are, callers read it to know whom to expect.

    node     put (at start, and when something changed) ─ heartbeat (every period) ─ leave (at a clean stop)
    caller   nodes
    prune    nodes, identities ─ remove (who is gone for good)

Two machines with one name find out by their heartbeats: each run of a daemon is an `instance`, and a heartbeat that
finds another one in its place says so.

One protocol, implemented in memory and on DynamoDB. Times are Unix seconds by the server's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

PERIODS_ALIVE = 3  # a node is alive when it was seen within this many of its periods


@dataclass(frozen=True)
class NodeRecord:
    """What a node says of itself.

    `public_key` is what its replies are signed with, as a `.pub` file shows it. `agents` are versions by name,
    `refused` the agents that it left out, with the reason; `period` is the seconds between heartbeats; `instance` is
    new with each start of the daemon; `contested` is when another machine was last found to use this name.
    """

    identity: str
    version: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    agents: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    public_key: str = ""
    period: float = 300.0
    instance: str = ""
    contested: float | None = None
    last_seen: float = 0.0
    left: float | None = None

    def alive(self, now: float) -> bool:
        """Tell whether to expect this node to answer: seen lately, and no farewell since."""
        return self.left is None and now - self.last_seen <= PERIODS_ALIVE * self.period

    def is_contested(self, now: float) -> bool:
        """Tell whether two machines were lately found to use this name."""
        return self.contested is not None and now - self.contested <= PERIODS_ALIVE * self.period


class Nodes(Protocol):
    """What callers ask of a registry. Both methods may raise Unreachable, AccessDenied or QueueNotFound."""

    def now(self) -> float:
        """Return the server's time in Unix seconds."""
        ...

    def nodes(self) -> list[NodeRecord]:
        """Return every node that has ever been published and not removed, in no order."""
        ...


class Registry(Nodes, Protocol):
    """What nodes ask of it as well. Every method may raise the same."""

    def put(self, record: NodeRecord) -> None:
        """Publish all of a node, as seen now."""
        ...

    def heartbeat(self, identity: str, instance: str) -> str | None:
        """Say that an instance of a node is alive now, and return the instance that the registry has for it.

        Another one, or none, means that nothing was written.
        """
        ...

    def leave(self, identity: str, instance: str) -> None:
        """Say that an instance of a node has stopped on purpose, now; nothing when another one has come since."""
        ...


class PrunableNodes(Nodes, Protocol):
    """What whoever tidies up asks of it. Every method may raise the same."""

    def identities(self) -> set[str]:
        """Return the name of every node that it has anything of, be it more than this version can read."""
        ...

    def remove(self, record: NodeRecord) -> bool:
        """Forget a node; return whether it was still as `record` says: one that was seen since then stays."""
        ...
