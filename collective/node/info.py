"""The node as its agent `rpcutil` sees it (`collective.node_info.NodeInfo`)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from collective.ddl import DDL
from collective.errors import Aborted
from collective.node.actions.runner import Runner
from collective.node.requests.counters import Counters
from collective.node.requests.data_queries import DataQueries
from collective.node.requests.pools import RequestPools
from collective.node.state import NodeState
from collective.node.storage.audit_log import AuditLog
from collective.node_info import NodeControl, NodePlugins


class RunningNodeInfo:
    """Implements NodeInfo from the parts of a running node."""

    def __init__(
        self,
        state: NodeState,
        counters: Counters,
        pools: RequestPools,
        audit: AuditLog,
        runner: Runner,
        control: NodeControl,
    ) -> None:
        self._control = control
        self._state = state
        self._counters = counters
        self._pools = pools
        self._audit = audit
        self._runner = runner
        self._started = time.time()
        self.pushed: NodePlugins | None = None  # set when the node can reload its plug-ins

    @property
    def identity(self) -> str:
        """The node's name."""
        return self._state.identity

    @property
    def collective(self) -> str:
        """The collective that the node belongs to."""
        return self._state.collective

    @property
    def started(self) -> float:
        """When the daemon started, in Unix seconds."""
        return self._started

    @property
    def facts(self) -> Mapping[str, Any]:
        """The node's facts."""
        return self._state.facts.current

    @property
    def classes(self) -> frozenset[str]:
        """The node's configuration classes."""
        return self._state.facts.classes

    @property
    def agents(self) -> Mapping[str, DDL]:
        """The DDLs of the agents that serve, by name."""
        return {name: agent.ddl for name, agent in self._state.plugins.agents.items()}

    @property
    def refused_agents(self) -> Mapping[str, str]:
        """The agents that failed to load, or of which a newer version failed to load, with the reason."""
        agents = self._state.plugins.agents
        newer = {
            name: f"version {agents[name].ddl.metadata['version']} is in use, newer version failed to load: {reason}"
            for name, reason in agents.outdated.items()
        }
        return {**{name: f"failed to load: {reason}" for name, reason in agents.refused.items()}, **newer}

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with files that are read while the daemon runs, except agents, one line per problem."""
        return self._state.problems

    @property
    def running(self) -> int:
        """The number of requests that wait, run or are being answered."""
        return self._pools.in_progress

    @property
    def audit_head(self) -> str | None:
        """The hash of the audit log's last line; None if the log is empty."""
        return self._audit.head

    @property
    def control(self) -> NodeControl:
        """What the agent `control` can do with this node's work."""
        return self._control

    @property
    def plugins(self) -> NodePlugins:
        """The plug-ins that callers have pushed. Raises Aborted if the node takes none."""
        if self.pushed is None:
            raise Aborted("this node takes no plug-ins")
        return self.pushed

    def count(self, counter: str) -> int:
        """Return the value of a counter of requests."""
        return self._counters[counter]

    def query(self, function: str, query: str, caller: str, timeout: float) -> dict[str, Any]:
        """Return what a data function returns for `query` within `timeout` seconds. Raise RPCError."""
        queries = DataQueries(self._state.plugins, self._runner, self._state.facts)
        return queries.query(function, query, caller, timeout)
