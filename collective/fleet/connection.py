"""What a caller uses of AWS: the transport and the registry, connected at first use.

With `recent`, a read of the registry that was made before may be enough, and nothing is connected.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from collective import names
from collective.fleet.known_nodes import IntroducedNodes, KnownNodes
from collective.fleet.registry_names import NamedNodes

if TYPE_CHECKING:
    from collective.aws.session import AWS
    from collective.config import ClientConfig
    from collective.fleet.ec2_instances import Instance
    from collective.registry import Nodes
    from collective.registry.early import EarlyNodes
    from collective.transport import Transport

CONNECTIONS = 28  # to SQS: for the threads that send, receive or delete at the same time
_CACHED = 5.0  # seconds for which the contents of the registry are cached


class Connection:
    """The account of a caller; nodes of the registry are introduced to `known`. Its properties raise ConfigError."""

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self.known = KnownNodes(config.state, config.collective, accept_new=config.new_nodes == "accept")

    def begin_reading(self) -> None:
        """Begin to read the registry, if there is one: it answers while modules are imported and clients are made."""
        if self._config.registry == "dynamodb":
            self._nodes.begin()

    @cached_property
    def aws(self) -> AWS:
        """The session."""
        from collective.aws.session import AWS

        return AWS.of(self._config)

    @cached_property
    def transport(self) -> Transport:
        """The queues and the topic."""
        from collective.transport.sqs import SQSTransport

        return SQSTransport(self.aws, connections=CONNECTIONS)

    def lazy_transport(self) -> Transport:
        """Return the transport, which is connected when it is first used."""
        return cast("Transport", _LazyTransport(self))

    @cached_property
    def _nodes(self) -> EarlyNodes:
        """The nodes of the table."""
        from collective.registry.dynamodb import DynamoDBRegistry
        from collective.registry.early import EarlyNodes
        from collective.registry.snapshot_nodes import SnapshotNodes

        table = DynamoDBRegistry(self.aws, names.table(self._config.collective))
        return EarlyNodes(SnapshotNodes(table, self._config.state / f"registry_{self._config.collective}.snapshot"))

    @cached_property
    def registry(self) -> Nodes:
        """The nodes of the table, which are introduced when they are read."""
        from collective.registry.cached import CachedNodes

        introduced = IntroducedNodes(self._nodes, self.known)
        return CachedNodes(NamedNodes(introduced, self._config.state, self._config.collective), _CACHED)

    def instances(self) -> list[Instance]:
        """Return the EC2 instances that must be nodes. Raises TransportError, NoNodes and UsageError."""
        from collective.fleet import ec2_instances

        filters = ec2_instances.filters_of(self._config.collective, self._config.ec2_filters)
        return ec2_instances.running(self.aws, filters)

    def recent_registry(self, seconds: float) -> Nodes:
        """Return the nodes as they were read at most `seconds` ago; the table is connected if it must be read."""
        from collective.fleet.recent_contents import RecentNodes

        return RecentNodes(self._config.state, self._config.collective, seconds, self._connected_registry)

    def _connected_registry(self) -> Nodes:
        return self.registry


class _LazyTransport:
    """Has the attributes of the transport of a connection, which is made for the first of them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection.transport, name)
