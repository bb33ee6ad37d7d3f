"""The registry on DynamoDB: one table per collective, one item per node.

    identity S (key) · last_seen N · left_at N · node B (the rest, as compressed JSON)

A heartbeat writes last_seen alone, which keeps it below one write unit; what is large changes seldom.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from collective.aws import AWS, translated
from collective.registry import NodeRecord

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_COLUMNS = ("identity", "last_seen", "left")  # of NodeRecord: kept beside the compressed rest, not in it


class DynamoDBRegistry:
    """The nodes of one collective in the table `table`."""

    def __init__(self, aws: AWS, table: str) -> None:
        self._aws = aws
        self._table = table
        self._client: DynamoDBClient = aws.client("dynamodb")

    def now(self) -> float:
        """Return the servers' time in Unix seconds."""
        return self._aws.now()

    def create(self) -> None:
        """Make the table, paid per request, unless it exists."""
        with translated(self._table):
            try:
                self._client.create_table(
                    TableName=self._table,
                    KeySchema=[{"AttributeName": "identity", "KeyType": "HASH"}],
                    AttributeDefinitions=[{"AttributeName": "identity", "AttributeType": "S"}],
                    BillingMode="PAY_PER_REQUEST",
                )
            except self._client.exceptions.ResourceInUseException:
                return

    def put(self, record: NodeRecord) -> None:
        """Write a node's whole item."""
        rest = {name: value for name, value in asdict(record).items() if name not in _COLUMNS}
        packed = zlib.compress(json.dumps(rest).encode())
        item: Any = {
            "identity": {"S": record.identity},
            "last_seen": {"N": f"{self.now():.3f}"},
            "node": {"B": packed},
        }
        with translated(self._table):
            self._client.put_item(TableName=self._table, Item=item)

    def heartbeat(self, identity: str) -> None:
        """Write a node's last_seen."""
        self._set(identity, "last_seen")

    def leave(self, identity: str) -> None:
        """Write a node's farewell."""
        self._set(identity, "left_at")

    def nodes(self) -> list[NodeRecord]:
        """Read the whole table (Scan, paged), consistently: a node that has just registered is in it."""
        with translated(self._table):
            pages = self._client.get_paginator("scan").paginate(TableName=self._table, ConsistentRead=True)
            items = [item for page in pages for item in page["Items"]]
        return [record for item in items if (record := _record(item))]

    def _set(self, identity: str, column: str) -> None:
        with translated(self._table):
            self._client.update_item(
                TableName=self._table,
                Key={"identity": {"S": identity}},
                UpdateExpression="SET #column = :now",
                ExpressionAttributeNames={"#column": column},
                ExpressionAttributeValues={":now": {"N": f"{self.now():.3f}"}},
            )


def _record(item: Any) -> NodeRecord | None:
    """Return an item as a record; None for one that this version cannot read, which nobody should expect."""
    try:
        packed = json.loads(zlib.decompress(bytes(item["node"]["B"])))
        rest = {name: packed[name] for name in NodeRecord.__dataclass_fields__ if name in packed}
        rest["classes"] = tuple(rest["classes"])
        left = float(item["left_at"]["N"]) if "left_at" in item else None
        return NodeRecord(identity=item["identity"]["S"], last_seen=float(item["last_seen"]["N"]), left=left, **rest)
    except (KeyError, TypeError, ValueError, zlib.error):
        return None
