"""The record of runs in DynamoDB: the table `<collective>_runs`, for all callers of a collective.

    part S (key)   entry S (sort key)
    runs           <Unix milliseconds>-<run>     begin S · ended S · progress S · holder, held_* · lease_end N
    <run>          <number, 10 digits>           batch S · count N · lines B (JSON lines, compressed)

A number is written once (`attribute_not_exists`), which makes an append fail if another caller has appended. A batch
that does not fit into an item has `count` items; one that is not complete is ignored. `lease_end` is by the servers'
clock. All items have `expires`, the time in Unix seconds from when DynamoDB deletes them.
"""

from __future__ import annotations

import json
import math
import re
import secrets
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from collective import names
from collective.aws.errors import translated
from collective.aws.session import AWS
from collective.errors import Unreachable
from collective.fleet.runs import saved_run
from collective.fleet.steering.run_log import LEASE, Event, Holder, RunEntry, RunLog, RunProgress
from collective.registry.run_table import EXPIRES

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from collective.config import ClientConfig

DAYS = 30.0
_ITEM = 300 * 1024  # bytes of lines in one item; DynamoDB's limit for an item is 400 KB
_MOST = 64 * 1024 * 1024  # bytes of one batch, after decompression
_RUNS = "runs"
_DAY = 86400.0
_ENTRY = re.compile("[0-8][0-9]{9}")  # behind others, a number without a successor would hide all that follow
_HELD = ("holder", "held_by", "held_on")


class TableRunStore:
    """The runs of one collective in the table `table`; they are kept for `days` after the last change."""

    def __init__(self, aws: AWS, table: str, days: float = DAYS) -> None:
        self._aws = aws
        self._table = table
        self._days = days
        self._client: DynamoDBClient = aws.client("dynamodb")
        self._entries: dict[str, str] = {}  # by run, the sort key of its item in the list

    @classmethod
    def connect(cls, config: ClientConfig) -> TableRunStore:
        """Return the runs of the collective of a caller. Raises ConfigError."""
        return cls(AWS.of(config), names.runs_table(config.collective), config.runs_days)

    def now(self) -> float:
        """Return the servers' time in Unix seconds."""
        return self._aws.now()

    def create(self, events: Sequence[Event], holder: Holder) -> RunLog:
        """Write the events, then the item of the list with a lease."""
        begin = events[0]
        run = str(begin["run"])
        log = self._log(run)
        log.append(events)
        self._entries[run] = _sort_key(float(begin["time"]), run)
        item = {**self._key(run), "begin": {"S": json.dumps(begin)}, **self._held(holder), **self._expires()}
        with translated(self._table, "table"):
            self._client.put_item(TableName=self._table, Item=item)
        return log

    def runs(self) -> list[RunEntry]:
        """Return the items of the list; those that cannot be read are omitted."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="part = :runs",
            ExpressionAttributeValues={":runs": {"S": _RUNS}},
            ScanIndexForward=False,
            ConsistentRead=True,
        )
        with translated(self._table, "table"):
            items = [item for page in pages for item in page["Items"]]
        now = self._aws.now()
        found = [entry for item in items if (entry := _entry(item, now)) is not None]
        self._entries.update({entry.run: _sort_key(entry.time, entry.run) for entry in found})
        return found

    def log(self, run: RunEntry) -> RunLog:
        """Return the events of a run."""
        return self._log(run.run)

    def take(self, run: RunEntry, holder: Holder) -> bool:
        """Change the holder if the lease has ended."""
        self._entries[run.run] = _sort_key(run.time, run.run)
        return self._update(
            run.run,
            holder,
            "SET holder = :id, held_by = :held_by, held_on = :held_on, held_pid = :held_pid, lease_end = :lease_end",
            "attribute_exists(part) AND attribute_not_exists(ended) "
            "AND (attribute_not_exists(lease_end) OR lease_end < :now)",
            {f":{name}": value for name, value in self._held(holder, "id").items()},
            now=True,
        )

    def renew(self, run: str, holder: Holder, progress: RunProgress) -> bool:
        """Change the end of the lease if the holder is the same."""
        values = {":progress": {"S": json.dumps(asdict(progress))}, ":lease_end": self._until(LEASE)}
        return self._update(run, holder, "SET lease_end = :lease_end, progress = :progress", "holder = :id", values)

    def release(self, run: str, holder: Holder, end: Event | None) -> None:
        """End the lease if the holder is the same, and store the last event."""
        if end is None:
            self._update(run, holder, "REMOVE lease_end", "holder = :id", {})
        else:
            values = {":ended": {"S": json.dumps(end)}}
            self._update(run, holder, "SET ended = :ended REMOVE lease_end", "holder = :id", values)

    def _update(
        self, run: str, holder: Holder, change: str, condition: str, values: dict[str, Any], *, now: bool = False
    ) -> bool:
        moment = {":now": _number(self._aws.now())} if now else {}
        keeps = (
            "SET expires = :expires, " + change[4:] if change.startswith("SET ") else f"SET expires = :expires {change}"
        )
        with translated(self._table, "table"):
            try:
                self._client.update_item(
                    TableName=self._table,
                    Key=self._key(run),
                    UpdateExpression=keeps,
                    ConditionExpression=condition,
                    ExpressionAttributeValues={
                        ":id": {"S": holder.id},
                        **values,
                        **moment,
                        ":expires": self._expires()[EXPIRES],
                    },
                )
            except self._client.exceptions.ConditionalCheckFailedException:
                return self._is_held(run, holder) if now else False
        return True

    def _is_held(self, run: str, holder: Holder) -> bool:
        """Return whether a holder has the lease: boto3 repeats a request whose response was lost."""
        item = self._client.get_item(TableName=self._table, Key=self._key(run), ConsistentRead=True).get("Item", {})
        return item.get("holder", {}).get("S") == holder.id

    def _held(self, holder: Holder, name: str = "holder") -> dict[str, Any]:
        """Return the attributes of a lease; that of the holder's ID is called `name`."""
        return {
            name: {"S": holder.id},
            "held_by": {"S": holder.caller},
            "held_on": {"S": holder.host},
            "held_pid": {"N": str(holder.process)},
            "lease_end": self._until(LEASE),
        }

    def _key(self, run: str) -> dict[str, Any]:
        return {"part": {"S": _RUNS}, "entry": {"S": self._entries[run]}}

    def _until(self, seconds: float) -> Any:
        return _number(self._aws.now() + seconds)

    def _expires(self) -> dict[str, Any]:
        return {EXPIRES: {"N": str(math.ceil(self._aws.now() + self._days * _DAY))}}

    def _log(self, run: str) -> TableLog:
        return TableLog(self._client, self._table, run, self._expires())


class TableLog:
    """The events of one run, in items with increasing numbers."""

    def __init__(self, client: DynamoDBClient, table: str, run: str, expires: dict[str, Any]) -> None:
        self._client = client
        self._table = table
        self._run = run
        self._expires = expires
        self._last = 0  # number of the last item that was read or written
        self._parts: list[bytes] = []  # of a batch that is not complete yet
        self._batch = ""

    def news(self) -> list[Event]:
        """Return the events of the items that are new."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="part = :run AND #entry > :last",
            ExpressionAttributeNames={"#entry": "entry"},
            ExpressionAttributeValues={":run": {"S": self._run}, ":last": {"S": _digits(self._last)}},
            ConsistentRead=True,
        )
        with translated(self._table, "table"):
            items = [item for page in pages for item in page["Items"]]
        return [event for item in items for event in self._events(item)]

    def append(self, events: Sequence[Event]) -> list[Event]:
        """Write the next items, unless there are new ones."""
        while True:
            batch = secrets.token_hex(8)
            parts = _parts(events)
            if all(self._put(part, batch, len(parts)) for part in parts):
                return []
            if found := self.news():
                return found
            # Another caller has begun a batch that is not complete: it is ignored, and this one follows it.

    def _put(self, part: bytes, batch: str, count: int) -> bool:
        """Write the next item; return False if another caller has written it."""
        item: Any = {
            "part": {"S": self._run},
            "entry": {"S": _digits(self._last + 1)},
            "batch": {"S": batch},
            "count": {"N": str(count)},
            "lines": {"B": part},
            **self._expires,
        }
        with translated(self._table, "table"):
            try:
                self._client.put_item(
                    TableName=self._table, Item=item, ConditionExpression="attribute_not_exists(part)"
                )
            except self._client.exceptions.ConditionalCheckFailedException:
                key = {name: item[name] for name in ("part", "entry")}
                found = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item", {})
                if found.get("batch", {}).get("S") != batch:  # else boto3 has repeated a request that had been done
                    return False
        self._last += 1
        return True

    def _events(self, item: Any) -> Iterator[Event]:
        """Yield the events of a batch when its last item has been read."""
        entry = str(item["entry"]["S"])
        if not _ENTRY.fullmatch(entry):
            return
        self._last = int(entry)
        batch, count, lines = (
            _attribute(item, "batch", "S"),
            _attribute(item, "count", "N"),
            _attribute(item, "lines", "B"),
        )
        if batch != self._batch:
            self._parts, self._batch = [], batch
        self._parts.append(bytes(lines or b""))
        if str(len(self._parts)) == count:
            for line in _unpacked(b"".join(self._parts)).splitlines():
                if (event := saved_run.parsed(line)) is not None:
                    yield event


def _parts(events: Sequence[Event]) -> list[bytes]:
    lines = "\n".join(json.dumps(event, separators=(",", ":")) for event in events)
    packed = zlib.compress(lines.encode())
    return [packed[begin : begin + _ITEM] for begin in range(0, len(packed), _ITEM)]


def _unpacked(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        lines = unpacker.decompress(packed, _MOST)
    except zlib.error:
        return b""
    if unpacker.unconsumed_tail:
        raise Unreachable(f"the record of the run has a batch of more than {_MOST} bytes")
    return lines


def _entry(item: Any, now: float) -> RunEntry | None:
    """Return an item of the list; None for one that has expired, or that cannot be read."""
    try:
        begin = saved_run.valid(json.loads(item["begin"]["S"]))
        end = saved_run.valid(json.loads(item["ended"]["S"])) if "ended" in item else {}
        progress = RunProgress(**json.loads(item["progress"]["S"])) if "progress" in item else RunProgress()
        lease_end = float(item["lease_end"]["N"]) if "lease_end" in item else 0.0
        held, by, on = (item[name]["S"] for name in _HELD)
        holder = Holder(held, by, on, int(item["held_pid"]["N"]))
        if begin is None or end is None or float(item[EXPIRES]["N"]) < now:
            return None
        time = int(item["entry"]["S"].partition("-")[0]) / 1000
    except (KeyError, ValueError, TypeError, RecursionError):
        return None
    return RunEntry(begin["run"], time, begin, end, holder, max(0.0, lease_end - now), progress)


def _sort_key(time: float, run: str) -> str:
    """Return the sort key of a run in the list, so that a list is in the order of time."""
    return f"{round(time * 1000):013d}-{run}"


def _attribute(item: Any, name: str, kind: str) -> Any:
    return item.get(name, {}).get(kind)


def _digits(number: int) -> str:
    return f"{number:010d}"


def _number(time: float) -> Any:
    return {"N": f"{time:.3f}"}
