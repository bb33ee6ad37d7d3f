"""What a fleet needs of AWS first: the clients' settings, and the registry, which may be read before the fleet is made.

This module imports little more than the clients do: `Fleet` is imported while the registry answers.
"""

from __future__ import annotations

from dataclasses import dataclass

from collective import names
from collective.aws.session import AWS
from collective.config import ClientConfig
from collective.registry.dynamodb import DynamoDBRegistry
from collective.registry.early import EarlyNodes
from collective.registry.snapshot_nodes import SnapshotNodes


@dataclass(frozen=True)
class Connection:
    """The session of a caller, and its registry (None: nodes are discovered by broadcast)."""

    aws: AWS
    nodes: EarlyNodes | None


def connect(config: ClientConfig, *, reads: bool = False) -> Connection:
    """Return the connection that `config` describes; with `reads`, begin to read the registry. Raises ConfigError."""
    aws = AWS.of(config)
    if config.registry != "dynamodb":
        return Connection(aws, None)
    table = DynamoDBRegistry(aws, names.table(config.collective))
    nodes = EarlyNodes(SnapshotNodes(table, config.state / f"registry_{config.collective}.snapshot"))
    if reads:
        nodes.begin()
    return Connection(aws, nodes)
