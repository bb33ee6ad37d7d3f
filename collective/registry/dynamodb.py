"""The DynamoDB registry: one table per collective, one item per node.

    identity S (key) · instance S · node B (the rest, compressed)
                     · last_seen N · contested N · left_at N · terminated_at N · changed N
    #revoked NODE FINGERPRINT S (key) · node S · fingerprint S · active BOOL     a key that no caller may accept
    #cluster NAME S (key)            a cluster of machines, see collective.cluster.table: not read here

A heartbeat writes only `last_seen`, because the rest is large and seldom changes; `changed` is when it last did. Times
are Unix seconds by the clock of the service.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from collective.aws.errors import translated
from collective.aws.session import AWS
from collective.registry import CLUSTER, Contents, NodeRecord, Revocation, encoding
from collective.registry.encoding import InvalidRecord
from collective.registry.snapshot import Head
from collective.text import escape_controls

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_REVOKED = "#revoked "  # begins the keys of revocations; no identity contains these characters
_OTHER = (_REVOKED, CLUSTER)  # begin the keys of items that are not nodes
KEY: Any = [{"AttributeName": "identity", "KeyType": "HASH"}]  # identifies a table as a registry
_TYPES: Mapping[str, Any] = {"S": str, "N": str, "B": bytes, "BOOL": bool}
_TIMES = {"last_seen": "last_seen", "contested": "contested", "left": "left_at", "terminated": "terminated_at"}
_SEGMENTS = 8  # read in parallel, when the table has more than one page (1 MB)
_HEADS: Any = {  # what a scan returns of each item when a snapshot has the rest; some names are reserved words
    "ProjectionExpression": (
        "#identity, #instance, last_seen, contested, left_at, terminated_at, changed, fingerprint, active"
    ),
    "ExpressionAttributeNames": {"#identity": "identity", "#instance": "instance"},
}


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
        items = self._scan({})
        return decoded(items), _changes(items)

    def read_heads(self) -> tuple[list[Head], Contents]:
        """Return the heads of all records; and revoked keys and invalid items, without records."""
        items = {str(item["identity"]["S"]): item for item in self._scan(_HEADS)}
        rest = decoded(_with_node(key, item) for key, item in items.items() if key.startswith(_REVOKED))
        invalid = dict(rest.invalid)
        heads = []
        for key, item in items.items():
            if not key.startswith(_OTHER):
                try:
                    heads.append(_head(key, item))
                except InvalidRecord as error:
                    invalid[escape_controls(key)] = str(error)
        return heads, Contents([], invalid, rest.revocations)

    def read_changed(self, since: str) -> tuple[Contents, dict[str, str]]:
        """Return the records changed since then, and those that do not have their last change."""
        items = self._scan(
            {
                "FilterExpression": "changed >= :since OR attribute_not_exists(changed)",
                "ExpressionAttributeValues": {":since": {"N": since}},
            }
        )
        return decoded(items), _changes(items)

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
        return {key for key in keys if not key.startswith(_OTHER)}

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

    def _segment(self, parameters: Any, number: int) -> list[Any]:
        pages = self._client.get_paginator("scan").paginate(
            TableName=self._table, ConsistentRead=True, Segment=number, TotalSegments=_SEGMENTS, **parameters
        )
        return [item for page in pages for item in page["Items"]]

    def _now(self) -> Any:
        return _number(self.now())


def _number(time: float) -> Any:
    return {"N": f"{time:.3f}"}


def to_item(record: NodeRecord, now: float) -> Any:
    """Return the item of a record that is written now, in Unix seconds."""
    item: Any = {
        "identity": {"S": record.identity},
        "instance": {"S": record.instance},
        "last_seen": _number(now),
        "changed": _number(now),
        "node": {"B": encoding.encode(encoding.fit(record))},
    }
    if record.contested is not None:
        item["contested"] = _number(record.contested)
    return item


def is_revocation(key: str) -> bool:
    """Return whether the key of an item is that of a revoked or readmitted node's key."""
    return key.startswith(_REVOKED)


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
            elif not key.startswith(CLUSTER):
                records[key] = _record(key, item)
        except InvalidRecord as error:
            invalid[escape_controls(key)] = str(error)
    return Contents(list(records.values()), invalid, revocations)


def _record(key: str, item: Any) -> NodeRecord:
    return encoding.decode(key, _attribute(item, "node", "B"), _times(item), _attribute(item, "instance", "S"))


def _head(key: str, item: Any) -> Head:
    """Return the head of a record, whose times are checked as those of a record are."""
    times: Any = _times(item)
    encoding.check_head(key, times)
    return Head(key, _attribute(item, "instance", "S"), _changed(item), **times)


def _times(item: Any) -> dict[str, float | None]:
    """Return the times of an item by the names that they have in a record."""
    return {name: _time(item, column) for name, column in _TIMES.items()}


def _changed(item: Any) -> str:
    """Return the last change of a record; an empty string if it has none, or one that is not a time."""
    number = item.get("changed", {}).get("N")
    with suppress(TypeError, ValueError):
        if math.isfinite(float(number)):
            return str(number)
    return ""


def _with_node(key: str, item: Any) -> Any:
    """Return the item of a revocation with its node, whose name is part of the key."""
    return {**item, "node": {"S": key.removeprefix(_REVOKED).rpartition(" ")[0]}}


def _changes(items: Iterable[Any]) -> dict[str, str]:
    """Return the last change of each record that has one."""
    found = {str(item["identity"]["S"]): _changed(item) for item in items}
    return {key: changed for key, changed in found.items() if changed and not key.startswith(_OTHER)}


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
