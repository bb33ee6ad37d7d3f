"""What the agents `rpcutil` and `control` see of the daemon that they run in: everything except its configuration.

These are protocols, so that the agents do not depend on the node's code; `collective/node/info.py` and
`collective/node/jobs/control.py` implement them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from collective.ddl import DDL


class NodeControl(Protocol):
    """The work of a node. A caller may stop its own requests, and with `everyone` those of all callers.

    Methods about one request raise Aborted for an unknown one, and for one of another caller. With `dry_run` a method
    changes nothing, and returns what it would.
    """

    def jobs(self, caller: str, *, everyone: bool) -> list[dict[str, Any]]:
        """Return the jobs of `caller`, or of all callers, oldest first, without their results."""
        ...

    def result(self, job_id: str, caller: str, *, everyone: bool) -> dict[str, Any]:
        """Return a job and its result."""
        ...

    def cancel(self, request_id: str, caller: str, *, everyone: bool, running: bool, dry_run: bool) -> str:
        """Cancel a request or a job, with `running` also one whose action has begun. Return what became of it."""
        ...

    def settle(self, request_id: str, caller: str, *, everyone: bool, dry_run: bool) -> dict[str, Any]:
        """Return what became of a request and its reply; one that has not begun will not."""
        ...

    def freeze(self, caller: str, reason: str, *, dry_run: bool) -> Mapping[str, Any]:
        """Refuse everything but reads from now on; return the freeze."""
        ...

    def thaw(self, *, dry_run: bool) -> Mapping[str, Any] | None:
        """End the freeze, and return it; None if there was none."""
        ...

    def frozen(self) -> Mapping[str, Any] | None:
        """Return the freeze in force; None if there is none."""
        ...


class NodePlugins(Protocol):
    """The plug-ins that callers have pushed to the node."""

    def install(self, text: str, digest: str, dry_run: bool = False) -> dict[str, Any]:
        """Install a bundle and serve it; return the plug-in's state. Raise InvalidInput or Aborted."""
        ...

    def rollback(self, name: str, dry_run: bool = False) -> dict[str, Any]:
        """Serve the version before; return the plug-in's state. Raise Aborted if there is none."""
        ...

    def list(self) -> dict[str, Any]:
        """Return the state of each plug-in by name."""
        ...


class NodeInfo(Protocol):
    """The node that runs an action of rpcutil or control."""

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

    @property
    def control(self) -> NodeControl:
        """What can be done with the node's work."""

    @property
    def plugins(self) -> NodePlugins:
        """The plug-ins that callers have pushed. Raise Aborted if the node takes none."""

    def count(self, counter: str) -> int:
        """Return the value of a counter of requests, such as `received`."""
        ...

    def query(self, function: str, query: str, caller: str, timeout: float) -> dict[str, Any]:
        """Return what a data function returns for `query` within `timeout` seconds. Raise RPCError."""
        ...
