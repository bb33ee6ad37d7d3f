"""The DynamoDB registry: one table per collective, one item per node.

    identity S (key) · instance S · last_seen N · contested N · left_at N · node B (the rest, as compressed JSON)
    #revoked NODE FINGERPRINT S (key) · node S · fingerprint S · active BOOL     a key that no caller may accept

A heartbeat writes only `last_seen`, because the rest is large and seldom changes. Times are Unix seconds by the clock
of the service.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from collective.aws.errors import translated
from collective.aws.session import AWS
from collective.registry import Contents, NodeRecord, Revocation, encoding
from collective.registry.encoding import InvalidRecord
from collective.text import escape_controls

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_REVOKED = "#revoked "  # begins the keys of revocations; no identity contains these characters
KEY: Any = [{"AttributeName": "identity", "KeyType": "HASH"}]  # identifies a table as a registry
_TYPES: Mapping[str, Any] = {"S": str, "N": str, "B": bytes, "BOOL": bool}
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
        """Write the item of a node; entries that do not fit into an item are omitted."""
        item: Any = {
            "identity": {"S": record.identity},
            "instance": {"S": record.instance},
            "last_seen": self._now(),
            "node": {"B": encoding.encode(encoding.fit(record))},
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
                return str(found.get("instance", {}).get("S", "")) if found else None
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
        """Return the records that can be read."""
        return self.read().records

    def read(self) -> Contents:
        """Read the whole table, consistently, so that nodes that have just registered are included.

        A table of one page takes one Scan; a larger table is then read again, in parallel segments.
        """
        with translated(self._table, "table"):
            first = self._client.scan(TableName=self._table, ConsistentRead=True)
            items: Iterable[Any] = first["Items"]
            if "LastEvaluatedKey" in first:
                with ThreadPoolExecutor(_SEGMENTS) as pool:
                    items = [item for part in pool.map(self._segment, range(_SEGMENTS)) for item in part]
        return decoded(items)

    def record_revocation(self, revocation: Revocation) -> None:
        """Write the item of a revoked or readmitted key; it is never deleted, so that callers learn of both."""
        item: Any = {
            "identity": {"S": f"{_REVOKED}{revocation.node} {revocation.fingerprint}"},
            "node": {"S": revocation.node},
            "fingerprint": {"S": revocation.fingerprint},
            "active": {"BOOL": revocation.active},
            "changed": self._now(),
        }
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
        return {key for key in keys if not key.startswith(_REVOKED)}

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


def decoded(items: Iterable[Any]) -> Contents:
    """Return the contents of a table's items; an invalid item costs only itself, and is listed with the reason."""
    records: dict[str, NodeRecord] = {}
    invalid: dict[str, str] = {}
    revocations: list[Revocation] = []
    for item in items:
        key = str(item["identity"]["S"])
        try:
            if key.startswith(_REVOKED):
                revocations.append(_revocation(item))
            else:
                records[key] = _record(key, item)
        except InvalidRecord as error:
            invalid[escape_controls(key)] = str(error)
    return Contents(list(records.values()), invalid, revocations)


def _record(key: str, item: Any) -> NodeRecord:
    times = {
        "last_seen": _time(item, "last_seen"),
        "contested": _time(item, "contested"),
        "left": _time(item, "left_at"),
    }
    return encoding.decode(key, _attribute(item, "node", "B"), times, _attribute(item, "instance", "S"))


def _revocation(item: Any) -> Revocation:
    node, fingerprint = _attribute(item, "node", "S"), _attribute(item, "fingerprint", "S")
    return Revocation(escape_controls(node), escape_controls(fingerprint), _attribute(item, "active", "BOOL"))


def _time(item: Any, column: str) -> float | None:
    if column not in item:
        return None
    try:
        number = float(_attribute(item, column, "N"))
    except ValueError:
        number = math.nan
    return number


def _attribute(item: Any, name: str, kind: str) -> Any:
    """Return an attribute of an item, which must have the type `kind` of DynamoDB. Raises InvalidRecord."""
    value = item.get(name, {}).get(kind)
    if not isinstance(value, _TYPES[kind]):
        raise InvalidRecord(f"{name}: missing, or not of the type {kind}")
    return bytes(value) if kind == "B" else value
