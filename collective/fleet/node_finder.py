"""Find the nodes that match a filter and have an agent: from the registry, or by asking the nodes with a broadcast.

Without a registry, or if it cannot be read, nodes are asked. `discovery.py` decides what the registry's records mean.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from collective.catalog import Catalog
from collective.config import ClientConfig
from collective.errors import NotFound, TransportError, Unreachable, UsageError
from collective.fleet import discovery
from collective.fleet.call_opening import CallOpener, closing_on_error
from collective.fleet.discovery import Discovery
from collective.fleet.known_nodes import KnownNodes
from collective.fleet.pace import AT_ONCE
from collective.fleet.rollout import Rollout
from collective.fleet.targets import Targets
from collective.registry import Contents, NodeRecord, Nodes, encoding

if TYPE_CHECKING:
    from collective.fleet.ec2_instances import Instance

log = logging.getLogger(__name__)

_WINDOW = 2.0  # seconds without a reply after which a broadcast discovery ends


class NodeFinder:
    """Finds nodes with the `registry` if there is one; `opener` makes the calls that ask nodes.

    `instances` returns the EC2 instances that must be nodes.
    """

    def __init__(
        self,
        config: ClientConfig,
        catalog: Catalog,
        registry: Nodes | None,
        known: KnownNodes | None,
        opener: CallOpener,
        instances: Callable[[], Sequence[Instance]] | None = None,
    ) -> None:
        self._instances = instances
        self._config = config
        self._catalog = catalog
        self._registry = registry
        self._known = known
        self._opener = opener

    def named(self, nodes: Iterable[str]) -> Discovery:
        """Return the nodes of targets that are only names, except those whose key is revoked."""
        revoked = {name for name in nodes if self._known and self._known.is_revoked(name)}
        reasons = dict.fromkeys(sorted(revoked), "its key is revoked")
        return Discovery(tuple(name for name in nodes if name not in revoked), reasons)

    def matching(self, targets: Targets, agent: str, *, certain: bool) -> Discovery:
        """Return the nodes that match the filter and have `agent`, from the registry or by broadcast.

        `certain`: an unreadable registry is an error, because a broadcast instead may miss nodes.
        """
        required = targets.method in ("registry", "ec2")
        if required and self._registry is None:
            raise UsageError(
                f"discovery method '{targets.method}': this collective has no registry (client.yaml: registry)"
            )
        if self._registry is None:
            return self._ask(targets, agent)
        try:
            contents, now = self._registry.read(), self._registry.now()
        except NotFound as error:
            if required:
                raise
            log.info("discovery.broadcast", extra={"error": str(error)})
            return self._ask(targets, agent)
        except TransportError as error:
            if required or (certain and targets.method != "broadcast"):
                raise Unreachable(
                    f"registry cannot be read, so the nodes that would be reached are unknown: {error}"
                ) from None
            return self._ask_instead(targets, agent, error)
        if targets.method == "ec2":
            return self._on_instances(contents, now, targets, agent)
        return self._from_registry(contents, now, targets, agent)

    def _on_instances(self, contents: Contents, now: float, targets: Targets, agent: str) -> Discovery:
        """Return the nodes on EC2 instances, and as not asked the instances that have none, which no filter knows."""
        from collective.fleet import ec2_instances

        if self._instances is None:
            raise UsageError("discovery method 'ec2': this fleet has no connection to EC2")
        instances = self._instances()
        there = ec2_instances.nodes_among(contents, instances)
        found = self._from_registry(there, now, targets, agent)
        missing = ec2_instances.without_daemon(there.records, instances)
        return replace(found, not_asked={**found.not_asked, **missing})

    def _ask_instead(self, targets: Targets, agent: str, error: TransportError) -> Discovery:
        """Ask the nodes because the registry cannot be read."""
        found = self._ask(targets, agent)  # if this fails as well, one message is enough
        text = f"registry cannot be read, nodes discovered by broadcast: {error}"
        log.warning("discovery.broadcast", extra={"error": text})
        return found

    def _from_registry(self, contents: Contents, now: float, targets: Targets, agent: str) -> Discovery:
        """Return the nodes that the registry has, after asking those that must decide themselves."""
        found = discovery.candidates(contents, now, targets, agent, self._is_revoked)
        for name in found.contested:
            log.warning("identity.contested", extra={"error": f"two machines use the identity '{name}'"})
        for record in contents.records:
            if record.omitted and record.alive(now):
                log.info("discovery.omitted", extra={"error": f"{record.identity}: {encoding.omission(record)}"})
        size = len(contents.records)
        certain = Discovery(
            tuple(sorted(found.matching)), found.not_asked, absent=found.absent, why_none=found.why_none, known=size
        )
        return certain.joined(self._ask(targets, agent, found.undecided)) if found.undecided else certain

    def _is_revoked(self, record: NodeRecord) -> bool:
        return self._known is not None and self._known.is_revoked(record.identity, record.public_key)

    def _ask(self, targets: Targets, agent: str, nodes: Iterable[str] | None = None) -> Discovery:
        """Ask nodes whether they match: each of `nodes`, or by a broadcast those that match."""
        ping = self._catalog.action("rpcutil", "ping")
        wanted = replace(targets.filter, agents=(*targets.filter.agents, agent))
        timeout = targets.discovery_timeout or self._config.discovery_timeout
        request = self._opener.request(ping, {}, wanted, timeout, self._config.ttl)
        asked = Discovery(tuple(nodes or ()))
        call = self._opener.open(ping, request, Rollout(asked.nodes, AT_ONCE, timeout), asked)
        with closing_on_error(call):
            if nodes is None:
                call.begin_broadcast(min(_WINDOW, timeout), timeout)
            else:
                call.begin()
            return discovery.answers(call.wait(), call.request_ids)
