"""Read the stream of a DynamoDB table: all shards, each after its parent, from a position that can be stored.

    latest    ─► the end of the open shards         a new reader: what was written before is in the table
    resume    ─► after the records of a cursor      raises CursorLost if DynamoDB has deleted them: after 24 h
    read      ─► the records since, in order for each item
                   └ a shard ends ─► its children are read from their beginning

Source: DynamoDB developer guide, "Change data capture for DynamoDB Streams". A shard is open for some hours; then it
ends, and has one child or two. An iterator is valid for 15 minutes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from collective.aws.errors import translated
from collective.errors import NotFound, TransportError

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient

MOST_PAGES = 50  # of one shard, up to 1,000 records or 1 MB each, that one read takes
_BEGINNING = ""  # the position before the first record of a shard


class CursorLost(TransportError):
    """The stream cannot be read on from a position."""


class TableStream:
    """The stream `arn`. Methods raise CursorLost, and the errors of TransportError."""

    def __init__(self, client: DynamoDBStreamsClient, arn: str) -> None:
        self._client = client
        self.arn = arn
        self._positions: dict[str, str | None] = {}  # by shard: the last record; None: the end, no record since
        self._iterators: dict[str, str] = {}
        self._ended: set[str] = set()  # shards that were read completely, and whose children are not known yet
        self._found: list[Any] = []  # what a read that failed had already found

    @property
    def cursor(self) -> str | None:
        """The position, as JSON; None as long as no record of some shard was read."""
        if None in self._positions.values():
            return None
        return json.dumps({"stream": self.arn, "shards": self._positions})

    def latest(self) -> None:
        """Begin at the end of the stream."""
        shards = self._shards()
        parents = {shard.get("ParentShardId") for shard in shards}
        leaves = [str(shard["ShardId"]) for shard in shards if shard["ShardId"] not in parents]
        self._begin(dict.fromkeys(leaves))
        for shard in leaves:
            self._iterators[shard] = self._iterator(shard, "LATEST")

    def resume(self, cursor: str) -> None:
        """Begin after the records that `cursor` has seen. Raises CursorLost for a cursor of another stream, too."""
        self._begin(_positions(cursor, self.arn))
        known = {str(shard["ShardId"]) for shard in self._shards()}
        if missing := self._positions.keys() - known:
            raise CursorLost(f"{self.arn}: the shard {min(missing)} does not exist any more")

    def read(self) -> list[Any]:
        """Return the records since the last read. Raises CursorLost if there are very many."""
        waiting = list(self._positions)
        while waiting:
            shard = waiting.pop(0)
            if shard in self._ended or self._drain(shard):
                waiting += self._follow(shard)
        found, self._found = self._found, []
        return found

    def _begin(self, positions: Mapping[str, str | None]) -> None:
        self._positions, self._iterators, self._ended, self._found = dict(positions), {}, set(), []

    def _drain(self, shard: str) -> bool:
        """Read the records of a shard since the last read; return whether it has ended."""
        for _ in range(MOST_PAGES):
            page = self._page(shard)
            records = page["Records"]
            if records:
                self._found += records
                self._positions[shard] = str(records[-1]["dynamodb"]["SequenceNumber"])
            following = page.get("NextShardIterator")
            if following is None:
                self._ended.add(shard)
                return True
            self._iterators[shard] = following
            if not records:
                return False
        raise CursorLost(f"{self.arn}: more than {MOST_PAGES} pages of records since the last read")

    def _page(self, shard: str) -> Any:
        if shard not in self._iterators:
            self._iterators[shard] = self._iterator(shard)
        with _existing(self._client, self.arn):
            try:
                return self._client.get_records(ShardIterator=self._iterators[shard])
            except self._client.exceptions.ExpiredIteratorException:
                self._iterators[shard] = self._iterator(shard)
                return self._client.get_records(ShardIterator=self._iterators[shard])

    def _iterator(self, shard: str, kind: str = "") -> str:
        """Return an iterator of `kind`, or else for the position in a shard."""
        position = self._positions[shard]
        if position is None and not kind:
            raise CursorLost(f"{self.arn}: the position in the shard {shard} has expired")
        request: Any = {"StreamArn": self.arn, "ShardId": shard, "ShardIteratorType": kind or "TRIM_HORIZON"}
        if position:
            request |= {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": position}
        with _existing(self._client, self.arn):
            return str(self._client.get_shard_iterator(**request)["ShardIterator"])

    def _follow(self, shard: str) -> list[str]:
        """Replace a shard that has ended by its children, and return them; keep it if they are not known yet."""
        children = [str(one["ShardId"]) for one in self._shards() if one.get("ParentShardId") == shard]
        if children:
            del self._positions[shard], self._iterators[shard]
            self._ended.discard(shard)
            self._positions |= dict.fromkeys(children, _BEGINNING)
        return children

    def _shards(self) -> Sequence[Any]:
        """Return all shards. Raises NotFound if the stream was disabled: it never has new records."""
        found: list[Any] = []
        page: Any = {}
        while True:
            with translated(self.arn, "stream"):
                answer = self._client.describe_stream(StreamArn=self.arn, **page)["StreamDescription"]
                found += answer["Shards"]
            last = answer.get("LastEvaluatedShardId")
            if answer["StreamStatus"] in ("DISABLED", "DISABLING"):
                raise NotFound("stream", self.arn)
            if last is None:
                return found
            page = {"ExclusiveStartShardId": last}


@contextmanager
def _existing(client: DynamoDBStreamsClient, arn: str) -> Iterator[None]:
    """Translate errors of a shard; raise CursorLost if its records, or the shard itself, were deleted."""
    try:
        with translated(arn, "stream"):
            try:
                yield
            except client.exceptions.TrimmedDataAccessException:
                raise CursorLost(f"{arn}: the records since the last read were deleted") from None
    except NotFound:
        raise CursorLost(f"{arn}: a shard was deleted since the last read") from None


def _positions(cursor: str, arn: str) -> dict[str, str | None]:
    """Return the positions by shard in a cursor of the stream `arn`."""
    try:
        found = json.loads(cursor)
        shards: Mapping[str, str] = found["shards"]
        if found["stream"] == arn and shards and all(isinstance(one, str) for one in shards.values()):
            return dict(shards)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise CursorLost(f"{arn}: the stored position is damaged") from None
    raise CursorLost(f"{arn}: the stored position is of another stream")
