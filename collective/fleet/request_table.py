"""The requests that wait for approvals in DynamoDB, in the table `<collective>_runs`, for all callers of a collective.

    part S (key)   entry S (sort key)
    requests       <Unix milliseconds>-<run>     plan B (JSON, compressed) · revision S

A plan is replaced only if its `revision` is still the one that was read, so that two callers that approve at once both
count. `expires` is the time in Unix seconds from when DynamoDB deletes a request, and from when it is not listed.
"""

from __future__ import annotations

import json
import math
import secrets
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective import names
from collective.aws.errors import translated
from collective.aws.session import AWS
from collective.errors import NotFound, Unreachable, UsageError
from collective.fleet import approvals
from collective.fleet.plan import checked
from collective.fleet.request_store import KEPT, Document, StoredPlan, is_whole_id, only
from collective.registry.run_table import EXPIRES

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from collective.config import ClientConfig

LARGEST_PLAN = 300 * 1024  # bytes, compressed; DynamoDB's limit for an item is 400 KB
MOST_LISTED = 1000  # requests, the newest ones
MOST_BYTES = 64 * 1024 * 1024  # of the requests that are listed, after decompression, with those that are not valid
_MOST = 16 * 1024 * 1024  # bytes of a plan, after decompression
_PART = "requests"


class TablePlan:
    """A request in the table; `entry` is its sort key, `size` the bytes of the plan that was read, not compressed."""

    def __init__(self, client: DynamoDBClient, table: str, entry: str) -> None:
        self.where = f"{table}: request {_run(entry)[:8]}"
        self.path: Path | None = None
        self._client = client
        self._table = table
        self._key: Any = {"part": {"S": _PART}, "entry": {"S": entry}}
        self._revision = ""
        self.size = 0

    def read(self) -> Document:
        """Return the plan as it is now."""
        with _known(self._table):
            item = self._client.get_item(TableName=self._table, Key=self._key, ConsistentRead=True).get("Item")
        if item is None:
            raise UsageError(f"{self.where}: is not there any more")
        return self.taken(item)

    def taken(self, item: Any) -> Document:
        """Return the plan of an item, and note its revision."""
        self._revision = item.get("revision", {}).get("S", "")
        text = _unpacked(item, self.where)
        self.size = len(text)
        return checked(text, self.where)

    def replace(self, after: Mapping[str, Any]) -> bool:
        """Write a plan, unless another one than that which was read is there now."""
        with _known(self._table):
            try:
                self._client.update_item(
                    TableName=self._table,
                    Key=self._key,
                    UpdateExpression="SET #plan = :plan, revision = :new",
                    ConditionExpression="revision = :seen",
                    ExpressionAttributeNames={"#plan": "plan"},
                    ExpressionAttributeValues={
                        ":plan": {"B": _packed(after)},
                        ":new": {"S": secrets.token_hex(8)},
                        ":seen": {"S": self._revision},
                    },
                )
            except self._client.exceptions.ConditionalCheckFailedException:
                return False
        return True


class RequestTable:
    """The requests of one collective in the table `table`. Methods raise TransportError and UsageError."""

    def __init__(self, aws: AWS, table: str) -> None:
        self._aws = aws
        self._table = table
        self._client: DynamoDBClient = aws.client("dynamodb")

    @classmethod
    def connect(cls, config: ClientConfig) -> RequestTable:
        """Return the requests of the collective of a caller. Raises ConfigError."""
        return cls(AWS.of(config), names.runs_table(config.collective))

    def add(self, document: Mapping[str, Any]) -> TablePlan:
        """Write a new request."""
        entry = f"{round(document['created'] * 1000):013d}-{document['run']}"
        item: Any = {
            "part": {"S": _PART},
            "entry": {"S": entry},
            "plan": {"B": _packed(document)},
            "revision": {"S": secrets.token_hex(8)},
            EXPIRES: {"N": str(math.ceil(approvals.expires(document) + KEPT))},
        }
        with _known(self._table):
            self._client.put_item(TableName=self._table, Item=item, ConditionExpression="attribute_not_exists(part)")
        return TablePlan(self._client, self._table, entry)

    def all(self) -> dict[str, tuple[StoredPlan, Document]]:
        """Return the newest requests by ID, the oldest of them first; those that are not valid plans are omitted."""
        found: dict[str, tuple[TablePlan, Document]] = {}
        size = 0
        for item in self._items():
            entry = item["entry"]["S"]
            place = TablePlan(self._client, self._table, entry)
            with suppress(UsageError):
                found[_run(entry)] = (place, place.taken(item))
            size += place.size
            if len(found) == MOST_LISTED or size > MOST_BYTES:  # others can write to the table, too
                break
        return dict(reversed(found.items()))

    def find(self, word: str) -> TablePlan:
        """Return a request by its ID, or the beginning of it."""
        entries = {_run(entry): entry for item in self._items(keys=True) if (entry := item["entry"]["S"])}
        run = only([run for run in entries if run.startswith(word)], word, self._table)
        return TablePlan(self._client, self._table, entries[run])

    def _items(self, *, keys: bool = False) -> Iterator[Any]:
        """Yield the items that have not expired, the newest first; with `keys` without their plans."""
        only_keys: Any = {"ProjectionExpression": f"entry, {EXPIRES}"} if keys else {}
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="part = :requests",
            ExpressionAttributeValues={":requests": {"S": _PART}},
            ScanIndexForward=False,
            ConsistentRead=True,
            **only_keys,
        )
        with _known(self._table):
            for page in pages:
                now = self._aws.now()
                yield from (item for item in page["Items"] if _is_listed(item, now))


@contextmanager
def _known(table: str) -> Iterator[None]:
    """Translate botocore's errors, and say what to do without the table."""
    try:
        with translated(table, "table"):
            yield
    except NotFound as error:
        raise Unreachable(f"{error} (crpc setup creates it, or set 'requests' in client.yaml to a folder)") from None


def _run(entry: str) -> str:
    return entry.partition("-")[2]


def _is_listed(item: Any, now: float) -> bool:
    """Return whether an item is a request that has not expired; others can write to the table, too."""
    expires = item.get(EXPIRES, {}).get("N", "0")
    return is_whole_id(_run(item["entry"]["S"])) and float(expires) > now


def _packed(document: Mapping[str, Any]) -> bytes:
    packed = zlib.compress(json.dumps(document, separators=(",", ":")).encode())
    if len(packed) > LARGEST_PLAN:
        raise UsageError(
            f"the request has {len(packed)} bytes, more than the limit of {LARGEST_PLAN} bytes (save it with --file)"
        )
    return packed


def _unpacked(item: Any, where: str) -> str:
    """Return the text of a plan in an item; raise UsageError when it cannot be read."""
    unpacker = zlib.decompressobj()
    try:
        return unpacker.decompress(bytes(item["plan"]["B"]), _MOST).decode()
    except (KeyError, TypeError, zlib.error, UnicodeDecodeError):
        raise UsageError(f"{where}: cannot be read (make a new request)") from None
