"""The DynamoDB registry: one table per collective, one item per node.

    identity S (key) · instance S · last_seen N · contested N · left_at N · node B (the rest, as compressed JSON)

A heartbeat writes only `last_seen`, because the rest is large and seldom changes. Times are Unix seconds by the clock
of the service.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from collective.aws import AWS, translated
from collective.registry import NodeRecord

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_COLUMNS = ("identity", "instance", "last_seen", "contested", "left")  # stored outside of the compressed JSON
KEY: Any = [{"AttributeName": "identity", "KeyType": "HASH"}]  # identifies a table as a registry
_SEGMENTS = 4  # read in parallel, when the table has more than one page (1 MB)


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

    def put(self, record: NodeRecord) -> None:
        """Write the item of a node."""
        rest = {name: value for name, value in asdict(record).items() if name not in _COLUMNS}
        packed = zlib.compress(json.dumps(rest).encode())
        item: Any = {
            "identity": {"S": record.identity},
            "instance": {"S": record.instance},
            "last_seen": self._now(),
            "node": {"B": packed},
        }
        if record.contested is not None:
            item["contested"] = _number(record.contested)
        with translated(self._table, "table"):
            self._client.put_item(TableName=self._table, Item=item)

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
                return found["instance"]["S"] if found else None
        return instance

    def leave(self, identity: str, instance: str) -> None:
        """Update `left_at` if the item is of this instance."""
        with translated(self._table, "table"), suppress(self._client.exceptions.ConditionalCheckFailedException):
            self._client.update_item(
                TableName=self._table,
                Key={"identity": {"S": identity}},
                UpdateExpression="SET left_at = :now",
                ConditionExpression="instance = :mine",
                ExpressionAttributeValues={":now": self._now(), ":mine": {"S": instance}},
            )

    def nodes(self) -> list[NodeRecord]:
        """Read the whole table, consistently, so that nodes that have just registered are included.

        A table of one page takes one Scan; a larger table is then read again, in parallel segments.
        """
        with translated(self._table, "table"):
            first = self._client.scan(TableName=self._table, ConsistentRead=True)
            items: Iterable[Any] = first["Items"]
            if "LastEvaluatedKey" in first:
                with ThreadPoolExecutor(_SEGMENTS) as pool:
                    items = [item for part in pool.map(self._segment, range(_SEGMENTS)) for item in part]
        records = (_record(item) for item in items)
        return list({record.identity: record for record in records if record}.values())

    def identities(self) -> set[str]:
        """Return the keys of all items, read consistently."""
        pages = self._client.get_paginator("scan").paginate(
            TableName=self._table,
            ConsistentRead=True,
            ProjectionExpression="#identity",
            ExpressionAttributeNames={"#identity": "identity"},  # a reserved word of DynamoDB
        )
        with translated(self._table, "table"):
            return {item["identity"]["S"] for page in pages for item in page["Items"]}

    def remove(self, record: NodeRecord) -> bool:
        """Delete a node's item if instance and last_seen are those of `record`."""
        with translated(self._table, "table"):
            try:
                self._client.delete_item(
                    TableName=self._table,
                    Key={"identity": {"S": record.identity}},
                    ConditionExpression="instance = :known AND last_seen = :seen",
                    ExpressionAttributeValues={":known": {"S": record.instance}, ":seen": _number(record.last_seen)},
                )
            except self._client.exceptions.ConditionalCheckFailedException:
                return False
        return True

    def _segment(self, number: int) -> list[Any]:
        pages = self._client.get_paginator("scan").paginate(
            TableName=self._table, ConsistentRead=True, Segment=number, TotalSegments=_SEGMENTS
        )
        return [item for page in pages for item in page["Items"]]

    def _now(self) -> Any:
        return _number(self.now())


def _number(time: float) -> Any:
    return {"N": f"{time:.3f}"}


def _record(item: Any) -> NodeRecord | None:
    """Return an item as a record; None for an item that this version cannot read."""
    try:
        packed = json.loads(zlib.decompress(bytes(item["node"]["B"])))
        rest = {name: packed[name] for name in NodeRecord.__dataclass_fields__ if name in packed}
        rest["classes"] = tuple(rest["classes"])
        return NodeRecord(
            identity=item["identity"]["S"],
            instance=item["instance"]["S"],
            last_seen=float(item["last_seen"]["N"]),
            contested=_time(item, "contested"),
            left=_time(item, "left_at"),
            **rest,
        )
    except (KeyError, TypeError, ValueError, zlib.error):
        return None


def _time(item: Any, column: str) -> float | None:
    return float(item[column]["N"]) if column in item else None
