"""A registry's table and its stream, in memory: with shards that split, end and are deleted, as DynamoDB's are.

moto has a single shard that never ends, so this stands in for what moto cannot do. It answers as the client of botocore
does, and has the methods of a registry for nodes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError

from collective.registry import Contents, NodeRecord
from collective.registry.table_items import decoded, to_item

ARN = "arn:aws:dynamodb:eu-central-1:111122223333:table/production_nodes/stream/2026-11-28T00:00:00.000"

MANY_SHARDS = 8  # open ones, which are not split any more


class ExpiredIterator(ClientError):
    """An iterator is older than 15 minutes."""

    def __init__(self) -> None:
        super().__init__({"Error": {"Code": "ExpiredIteratorException", "Message": ""}}, "GetRecords")


class TrimmedData(ClientError):
    """Records were deleted."""

    def __init__(self) -> None:
        super().__init__({"Error": {"Code": "TrimmedDataAccessException", "Message": ""}}, "GetRecords")


class Throttled(ClientError):
    """Too many requests."""

    def __init__(self) -> None:
        super().__init__({"Error": {"Code": "LimitExceededException", "Message": ""}}, "GetRecords")


class Shard:
    """One shard: `records` since `first`, which is the number of the oldest one that was not deleted."""

    def __init__(self, name: str, parent: str | None) -> None:
        self.name, self.parent = name, parent
        self.records: list[Any] = []
        self.open = True
        self.trimmed = 0  # records that were deleted


class StreamedTable:
    """The table. `clock` returns Unix seconds; a page of the stream has `page` records at most."""

    def __init__(self, clock: Callable[[], float], page: int = 1000) -> None:
        self.now = clock
        self.page = page
        self.items: dict[str, Any] = {}
        self.status, self.view = "ENABLED", "NEW_IMAGE"
        self.forbidden = False  # to describe the table
        self.scans = 0
        self.gets = 0
        self.error: ClientError | None = None  # raised by the next GetRecords that would return records
        self.on_scan: Callable[[], None] = lambda: None  # called before a Scan
        self.exceptions = SimpleNamespace(
            ExpiredIteratorException=ExpiredIterator, TrimmedDataAccessException=TrimmedData
        )
        self._numbers = itertools.count(1)
        self._names = itertools.count(1)
        self._generation = 0  # of iterators; those of an earlier one have expired
        self.shards: list[Shard] = []
        self._add(None)

    # -- the registry

    def put(self, record: NodeRecord) -> None:
        """Write a record."""
        self._write(record.identity, to_item(record, self.now()))

    def heartbeat(self, identity: str, instance: str) -> str | None:
        """Update `last_seen`."""
        self._write(identity, self.items[identity] | {"last_seen": {"N": f"{self.now():.3f}"}})
        return instance

    def leave(self, identity: str, _instance: str) -> None:
        """Record a clean stop."""
        self._write(identity, self.items[identity] | {"left_at": {"N": f"{self.now():.3f}"}})

    def delete(self, identity: str) -> None:
        """Delete a record."""
        self._write(identity, None)

    def read(self) -> Contents:
        """Return everything."""
        self.scans += 1
        self.on_scan()
        return decoded(list(self.items.values()))

    # -- what happens to a stream

    def split(self, children: int = 2) -> None:
        """End every open shard; each has children, or only one child if there are many."""
        ending = [shard for shard in self.shards if shard.open]
        if len(ending) >= MANY_SHARDS:
            children = 1
        for shard in ending:
            shard.open = False
            for _ in range(children):
                self._add(shard.name)

    def trim(self) -> None:
        """Delete all records, and the shards that have ended."""
        self.shards = [shard for shard in self.shards if shard.open]
        for shard in self.shards:
            shard.trimmed = len(shard.records)

    def expire(self) -> None:
        """Let 15 minutes pass for every iterator."""
        self._generation += 1

    # -- the clients

    def client(self, _service: str) -> Any:
        """Return the client of a service, as AWS does."""
        return self

    def describe_table(self, TableName: str) -> Any:  # noqa: N803, ARG002
        """Return the table with its stream."""
        if self.forbidden:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": ""}}, "DescribeTable")
        enabled = self.status == "ENABLED"
        settings = {"StreamEnabled": enabled, "StreamViewType": self.view}
        return {"Table": {"LatestStreamArn": ARN, "StreamSpecification": settings}}

    def scan(self, **parameters: Any) -> Any:
        """Return all items, or with a filter those changed since."""
        self.scans += 1
        since = parameters.get("ExpressionAttributeValues", {}).get(":since", {"N": "0"})["N"]
        return {"Items": [item for item in self.items.values() if float(item["changed"]["N"]) >= float(since)]}

    def describe_stream(self, StreamArn: str, ExclusiveStartShardId: str = "") -> Any:  # noqa: N803
        """Return one shard at a time, so that there are pages."""
        names = [shard.name for shard in self.shards]
        begin = names.index(ExclusiveStartShardId) + 1 if ExclusiveStartShardId else 0
        found = [self._description(shard) for shard in self.shards[begin : begin + 1]]
        more = {"LastEvaluatedShardId": names[begin]} if begin + 1 < len(names) else {}
        return {"StreamDescription": {"StreamArn": StreamArn, "StreamStatus": self.status, "Shards": found, **more}}

    def get_shard_iterator(
        self,
        StreamArn: str,  # noqa: N803, ARG002
        ShardId: str,  # noqa: N803
        ShardIteratorType: str,  # noqa: N803
        SequenceNumber: str = "",  # noqa: N803
    ) -> Any:
        """Return an iterator: the name of the shard, the number of the next record, and the generation."""
        shard = self._find(ShardId)
        sequences = [int(record["dynamodb"]["SequenceNumber"]) for record in shard.records]
        if ShardIteratorType == "LATEST":
            begin = len(sequences)
        elif ShardIteratorType == "TRIM_HORIZON":
            begin = shard.trimmed
        else:
            begin = sum(number <= int(SequenceNumber) for number in sequences)
            if begin < shard.trimmed:
                raise TrimmedData
        return {"ShardIterator": f"{shard.name} {begin} {self._generation}"}

    def get_records(self, ShardIterator: str) -> Any:  # noqa: N803
        """Return a page."""
        self.gets += 1
        name, begin, generation = ShardIterator.split()
        if int(generation) < self._generation:
            raise ExpiredIterator
        shard = self._find(name)
        if int(begin) < shard.trimmed:
            raise TrimmedData
        records = shard.records[int(begin) : int(begin) + self.page]
        if records and self.error:
            error, self.error = self.error, None
            raise error
        end = int(begin) + len(records)
        if end == len(shard.records) and not shard.open:
            return {"Records": records}
        return {"Records": records, "NextShardIterator": f"{name} {end} {generation}"}

    def _write(self, identity: str, item: Any) -> None:
        known = self.items.pop(identity, None)
        if item is not None:
            self.items[identity] = item
        change: Any = {"Keys": {"identity": {"S": identity}}, "SequenceNumber": str(next(self._numbers))}
        if item is not None:
            change["NewImage"] = dict(item)
        kind = "REMOVE" if item is None else "MODIFY" if known else "INSERT"
        leaves = [shard for shard in self.shards if shard.open]
        if leaves:  # a disabled stream has none
            shard = leaves[sum(identity.encode()) % len(leaves)]
            shard.records.append({"eventName": kind, "dynamodb": change})

    def _add(self, parent: str | None) -> None:
        self.shards.append(Shard(f"shardId-{next(self._names):04}", parent))

    def _find(self, name: str) -> Shard:
        for shard in self.shards:
            if shard.name == name:
                return shard
        raise ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": name}}, "GetRecords")

    def _description(self, shard: Shard) -> Any:
        numbers = [record["dynamodb"]["SequenceNumber"] for record in shard.records] or ["0"]
        parent = {"ParentShardId": shard.parent} if shard.parent else {}
        end = {} if shard.open else {"EndingSequenceNumber": numbers[-1]}
        return {
            "ShardId": shard.name,
            "SequenceNumberRange": {"StartingSequenceNumber": numbers[0], **end},
            **parent,
        }
