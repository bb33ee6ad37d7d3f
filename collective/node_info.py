"""What the agent `rpcutil` sees of the daemon that it runs in: everything except its configuration.

It is a protocol, so that the agent does not depend on the node's code; `collective/node/info.py` implements it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from collective.ddl import DDL


class NodeInfo(Protocol):
    """The node that runs an action of rpcutil."""

    @property
    def identity(self) -> str:
        """The node's name."""

    @property
    def collective(self) -> str:
        """The collective that the node belongs to."""

    @property
    def started(self) -> float:
        """When the daemon started, in Unix seconds."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """The node's facts."""

    @property
    def classes(self) -> Collection[str]:
        """The node's configuration classes."""

    @property
    def agents(self) -> Mapping[str, DDL]:
        """The DDLs of the agents that serve, by name."""

    @property
    def refused_agents(self) -> Mapping[str, str]:
        """The agents that failed to load, or of which a newer version failed to load, with the reason."""

    @property
    def problems(self) -> Sequence[str]:
        """What is wrong with files that are read while the daemon runs, except agents, one line per problem."""

    @property
    def running(self) -> int:
        """The number of requests that wait, run or are being answered."""

    @property
    def audit_head(self) -> str | None:
        """The hash of the audit log's last line; None if the log is empty."""

    def count(self, counter: str) -> int:
        """Return the value of a counter of requests, such as `received`."""
        ...

    def query(self, function: str, query: str, caller: str, timeout: float) -> dict[str, Any]:
        """Return what a data function returns for `query` within `timeout` seconds. Raise RPCError."""
        ...
