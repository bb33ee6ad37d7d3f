"""The DynamoDB registry: one table per collective, one item per node (`table_items.py`).

A heartbeat writes only `last_seen`, because the rest is large and seldom changes; `changed` is when it last did. Times
are Unix seconds by the clock of the service.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from collective.aws.errors import translated
from collective.aws.session import AWS
from collective.registry import Contents, NodeRecord, Revocation, table_items
from collective.registry.snapshot import Head
from collective.registry.table_items import changes, decoded, time_attribute, to_item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEY: Any = [{"AttributeName": "identity", "KeyType": "HASH"}]  # identifies a table as a registry
_SEGMENTS = 8  # read in parallel, when the table has more than one page (1 MB)


class DynamoDBRegistry:
    """The nodes of one collective in the table `table`."""

    def __init__(self, aws: AWS, table: str) -> None:
        self._aws = aws
        self._table = table
        self._client: DynamoDBClient = aws.client("dynamodb")

    def now(self) -> float:
        """Return the servers' time in Unix seconds."""
        return self._aws.now()

    def create(self, tags: Mapping[str, str] | None = None) -> None:
        """Create the table, billed per request, unless it exists.

        It has no backups, no expiry and no deletion protection, because nodes write all lost items again.
        """
        with translated(self._table, "table"), suppress(self._client.exceptions.ResourceInUseException):
            self._client.create_table(
                TableName=self._table,
                KeySchema=KEY,
                AttributeDefinitions=[{"AttributeName": "identity", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
                Tags=[{"Key": key, "Value": value} for key, value in (tags or {}).items()],
            )

    def stream(self) -> str | None:
        """Return the ARN of the table's stream, if it has one with the new images of items."""
        with translated(self._table, "table"):
            found = self._client.describe_table(TableName=self._table)["Table"]
        settings = found.get("StreamSpecification", {})
        has_images = settings.get("StreamViewType") in ("NEW_IMAGE", "NEW_AND_OLD_IMAGES")
        return found.get("LatestStreamArn") if settings.get("StreamEnabled") and has_images else None

    def enable_stream(self) -> None:
        """Let the table have a stream with the new images of items."""
        with translated(self._table, "table"):
            self._client.update_table(
                TableName=self._table,
                StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
            )

    def put(self, record: NodeRecord) -> None:
        """Write the item of a node; entries that do not fit into an item are omitted."""
        with translated(self._table, "table"):
            self._client.put_item(TableName=self._table, Item=to_item(record, self.now()))

    def heartbeat(self, identity: str, instance: str) -> str | None:
        """Update `last_seen` if the item is of this instance; return the instance in the item."""
        key = {"identity": {"S": identity}}
        with translated(self._table, "table"):
            try:
                self._client.update_item(
                    TableName=self._table,
                    Key=key,
                    UpdateExpression="SET last_seen = :now",
                    ConditionExpression="instance = :mine",
                    ExpressionAttributeValues={":now": self._now(), ":mine": {"S": instance}},
                )
            except self._client.exceptions.ConditionalCheckFailedException:
                found = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item")
                return str(found.get("instance", {}).get("S", "")) if found else None
        return instance

    def leave(self, identity: str, instance: str) -> None:
        """Update `left_at` if the item is of this instance."""
        self._set_time("left_at", identity, instance)

    def mark_terminated(self, record: NodeRecord) -> None:
        """Update `terminated_at` if the item is of the same instance."""
        self._set_time("terminated_at", record.identity, record.instance)

    def _set_time(self, column: str, identity: str, instance: str) -> None:
        with translated(self._table, "table"), suppress(self._client.exceptions.ConditionalCheckFailedException):
            self._client.update_item(
                TableName=self._table,
                Key={"identity": {"S": identity}},
                UpdateExpression=f"SET {column} = :now",
                ConditionExpression="instance = :mine",
                ExpressionAttributeValues={":now": self._now(), ":mine": {"S": instance}},
            )

    def nodes(self) -> list[NodeRecord]:
        """Return the records that can be read."""
        return self.read().records

    def read(self) -> Contents:
        """Read the whole table."""
        return self.read_with_changes()[0]

    def read_with_changes(self) -> tuple[Contents, dict[str, str]]:
        """Return the whole table, and the last change of each record by identity."""
        return _records_and_changes(self._scan({}))

    def read_heads(self) -> tuple[list[Head], Contents]:
        """Return the heads of all records; and revoked keys and invalid items, without records."""
        return table_items.heads(self._scan(table_items.HEADS))

    def read_changed(self, since: str) -> tuple[Contents, dict[str, str]]:
        """Return the records changed since then, and those that do not have their last change."""
        items = self._scan(
            {
                "FilterExpression": "changed >= :since OR attribute_not_exists(changed)",
                "ExpressionAttributeValues": {":since": {"N": since}},
            }
        )
        return _records_and_changes(items)

    def _scan(self, parameters: Any) -> list[Any]:
        """Read the table, consistently, so that nodes that have just registered are included.

        A table of one page takes one Scan; a larger table is then read again, in parallel segments.
        """
        with translated(self._table, "table"):
            first = self._client.scan(TableName=self._table, ConsistentRead=True, **parameters)
            if "LastEvaluatedKey" not in first:
                return list(first["Items"])
            read = partial(self._segment, parameters)
            with ThreadPoolExecutor(_SEGMENTS) as pool:
                return [item for part in pool.map(read, range(_SEGMENTS)) for item in part]

    def record_revocation(self, revocation: Revocation) -> None:
        """Write the item of a revoked or readmitted key; it is never deleted, so that callers learn of both."""
        item = table_items.revocation_item(revocation, self.now())
        with translated(self._table, "table"):
            self._client.put_item(TableName=self._table, Item=item)

    def identities(self) -> set[str]:
        """Return the keys of all items of nodes, read consistently."""
        pages = self._client.get_paginator("scan").paginate(
            TableName=self._table,
            ConsistentRead=True,
            ProjectionExpression="#identity",
            ExpressionAttributeNames={"#identity": "identity"},  # a reserved word of DynamoDB
        )
        with translated(self._table, "table"):
            keys = {str(item["identity"]["S"]) for page in pages for item in page["Items"]}
        return set(filter(table_items.is_node, keys))

    def remove(self, record: NodeRecord) -> bool:
        """Delete a node's item if instance and last_seen are those of `record`."""
        with translated(self._table, "table"):
            try:
                self._client.delete_item(
                    TableName=self._table,
                    Key={"identity": {"S": record.identity}},
                    ConditionExpression="instance = :known AND last_seen = :seen",
                    ExpressionAttributeValues={
                        ":known": {"S": record.instance},
                        ":seen": time_attribute(record.last_seen),
                    },
                )
            except self._client.exceptions.ConditionalCheckFailedException:
                return False
        return True

    def _segment(self, parameters: Any, number: int) -> list[Any]:
        pages = self._client.get_paginator("scan").paginate(
            TableName=self._table, ConsistentRead=True, Segment=number, TotalSegments=_SEGMENTS, **parameters
        )
        return [item for page in pages for item in page["Items"]]

    def _now(self) -> Any:
        return time_attribute(self.now())


def _records_and_changes(items: list[Any]) -> tuple[Contents, dict[str, str]]:
    """Return the contents of items, and their last changes; empty the list, so that each item is freed when decoded."""
    found = changes(items)
    items.reverse()
    return decoded(items.pop() for _ in range(len(items))), found
