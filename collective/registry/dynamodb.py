"""The registry on DynamoDB: one table per collective, one item per node.

    identity S (key) · instance S · last_seen N · contested N · left_at N · node B (the rest, as compressed JSON)

A heartbeat writes last_seen alone; what is large changes seldom. Times are Unix seconds by the service's clock.
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

_COLUMNS = ("identity", "instance", "last_seen", "contested", "left")  # kept beside the compressed rest, not in it
KEY: Any = [{"AttributeName": "identity", "KeyType": "HASH"}]  # by which a table is known to be a registry
_SEGMENTS = 4  # parts in which a table of more than one page (1 MB) is read at once


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
        """Make the table, paid per request, unless it exists.

        No backups, no expiry of items, no protection from deletion: nodes write again what is lost, all of it.
        """
        with translated(self._table), suppress(self._client.exceptions.ResourceInUseException):
            self._client.create_table(
                TableName=self._table,
                KeySchema=KEY,
                AttributeDefinitions=[{"AttributeName": "identity", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
                Tags=[{"Key": key, "Value": value} for key, value in (tags or {}).items()],
            )

    def put(self, record: NodeRecord) -> None:
        """Write a node's whole item."""
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
        with translated(self._table):
            self._client.put_item(TableName=self._table, Item=item)

    def heartbeat(self, identity: str, instance: str) -> str | None:
        """Write a node's last_seen where its instance is still the one that is known."""
        key = {"identity": {"S": identity}}
        with translated(self._table):
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
        """Write a node's farewell where its instance is still the one that is known."""
        with translated(self._table), suppress(self._client.exceptions.ConditionalCheckFailedException):
            self._client.update_item(
                TableName=self._table,
                Key={"identity": {"S": identity}},
                UpdateExpression="SET left_at = :now",
                ConditionExpression="instance = :mine",
                ExpressionAttributeValues={":now": self._now(), ":mine": {"S": instance}},
            )

    def nodes(self) -> list[NodeRecord]:
        """Read the whole table, consistently: a node that has just registered is in it.

        A table of one page takes one Scan; a larger one is read again, in several segments at once.
        """
        with translated(self._table):
            first = self._client.scan(TableName=self._table, ConsistentRead=True)
            items: Iterable[Any] = first["Items"]
            if "LastEvaluatedKey" in first:
                with ThreadPoolExecutor(_SEGMENTS) as pool:
                    items = [item for part in pool.map(self._segment, range(_SEGMENTS)) for item in part]
        records = (_record(item) for item in items)
        return list({record.identity: record for record in records if record}.values())

    def identities(self) -> set[str]:
        """Read the keys of all items, consistently."""
        pages = self._client.get_paginator("scan").paginate(
            TableName=self._table,
            ConsistentRead=True,
            ProjectionExpression="#identity",
            ExpressionAttributeNames={"#identity": "identity"},  # DynamoDB keeps the word for itself
        )
        with translated(self._table):
            return {item["identity"]["S"] for page in pages for item in page["Items"]}

    def remove(self, record: NodeRecord) -> bool:
        """Delete a node's item where instance and last_seen are still those of `record`."""
        with translated(self._table):
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
    """Return an item as a record; None for one that this version cannot read, which nobody should expect."""
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
