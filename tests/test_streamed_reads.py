"""The registry is followed by the stream of its table: nothing is lost or repeated, whatever happens to the stream."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
from support.membership import PERIOD, Clock, FixedVerdicts
from support.streamed_table import ARN, StreamedTable, Throttled

from collective.errors import NotFound, Unreachable
from collective.membership import MemberView, StateFile, Watcher
from collective.registry import NodeRecord
from collective.registry.dynamodb import DynamoDBRegistry
from collective.registry.streamed_reads import StreamedReads, in_rounds
from collective.registry.table_stream import MOST_PAGES, CursorLost, TableStream

OTHER_ARN = ARN.replace("2026", "2027")


class WatchedStream:
    """A table with a stream, and a watcher that can be restarted."""

    def __init__(self, path: Path) -> None:
        self.clock = Clock()
        self.table = StreamedTable(self.clock)
        self.path = path
        self.answers = FixedVerdicts()
        self.start()

    def start(self, arn: str = ARN) -> None:
        """Start a watcher with the state file."""
        self.store = StateFile(self.path, "test")
        self.feed = feed(self.table, arn)
        self.watcher = Watcher(self.feed, self.store, MemberView(), self.answers, collective="test")

    def restart(self, arn: str = ARN) -> None:
        """Stop the watcher, and start another one."""
        self.close()
        self.start(arn)

    def close(self) -> None:
        """Close the state file."""
        self.store.close()

    def put(self, identity: str, instance: str = "1", **facts: object) -> None:
        """Publish the record of a node."""
        self.table.put(NodeRecord(identity, "1.0", instance=instance, period=PERIOD, facts=facts))

    def step(self, seconds: float = 1.0) -> list[str]:
        """Return the events of one step as `kind identity`, and deliver them."""
        self.clock.time += seconds
        events = self.watcher.step()
        self.store.delivered(events)
        return [f"{event.kind} {event.member.identity}" for event in events]


def feed(table: StreamedTable, arn: str = ARN) -> StreamedReads:
    return StreamedReads(cast(DynamoDBRegistry, table), TableStream(cast(Any, table), arn))


def test_renewals_of_a_cluster_are_skipped() -> None:
    """The item of a cluster changes every few seconds, and is not a node."""
    cluster = [
        {
            "eventName": "MODIFY",
            "dynamodb": {"Keys": {"identity": {"S": "#cluster etcd"}}, "NewImage": {"n": {"N": "1"}}},
        },
        {"eventName": "REMOVE", "dynamodb": {"Keys": {"identity": {"S": "#cluster etcd"}}}},
    ]
    node = {"eventName": "REMOVE", "dynamodb": {"Keys": {"identity": {"S": "web1"}}}}
    assert in_rounds([*cluster, node]) == [{"web1": None}]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[WatchedStream]:
    with closing(WatchedStream(tmp_path / "state")) as world:
        yield world


def test_the_table_is_scanned_once(world: WatchedStream) -> None:
    """After the first read, every change comes from the stream, in order."""
    world.put("a")
    assert world.step() == ["join a"]
    world.table.leave("a", "1")
    world.put("b")
    world.put("a", "2")
    world.put("b", new=1)
    assert world.step() == ["leave a", "join b", "join a", "update b"]
    world.table.leave("a", "2")
    world.step()
    world.table.delete("a")
    assert world.step() == ["reap a"]
    assert world.step() == []
    assert world.table.scans == 1


def test_what_is_written_during_the_first_read_is_there_once(world: WatchedStream) -> None:
    """A record that is written between the position and the Scan is in both, and is one event."""
    world.table.on_scan = lambda: world.put("a")
    assert world.step() == ["join a"]
    world.table.on_scan = lambda: None
    assert world.step() == []
    assert world.table.scans == 1


def test_shards_that_end_are_followed_by_their_children(world: WatchedStream) -> None:
    """Records before and after several splits come once, in the order of each node."""
    world.put("a")
    world.step()
    world.put("a", value=1)
    world.table.split()
    world.put("a", value=2)
    world.table.split(1)
    world.table.split()
    world.put("a", value=3)
    world.put("b")
    assert sorted(world.step()) == ["join b", "update a", "update a", "update a"]
    world.put("b", value=1)
    assert world.step() == ["update b"]
    assert world.table.scans == 1


def test_a_shard_whose_children_are_not_known_yet_is_looked_for_again(world: WatchedStream) -> None:
    """An ended shard without children is not an error."""
    world.put("a")
    world.step()
    [shard] = world.table.shards
    shard.open = False
    assert world.step() == []
    world.table.split()
    shard.open = True
    world.table.split()
    world.put("b")
    assert world.step() == ["join b"]
    assert world.table.scans == 1


def test_a_restarted_watcher_continues_at_its_cursor(world: WatchedStream) -> None:
    """What happened while it was stopped is reported in order, even if it was undone; and nothing twice."""
    world.put("a")
    world.put("b")
    world.step()
    world.put("c")
    assert world.step() == ["join c"]
    world.table.leave("a", "1")
    world.table.split()
    world.put("a", "2")
    world.put("b", value=1)
    world.restart()
    assert world.step() == ["leave a", "update b", "join a"]
    world.restart()
    assert world.step() == []


@pytest.mark.parametrize("damage", ["trimmed", "other stream", "damaged", "far behind"])
def test_a_lost_cursor_costs_a_scan_and_no_event(
    world: WatchedStream, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A watcher whose position was deleted reads everything: each node that is different has one event."""
    caplog.set_level("INFO", "collective")
    world.put("a")
    world.put("b")
    world.step()
    world.put("c")
    world.step()
    world.table.leave("a", "1")
    arn = ARN
    if damage == "trimmed":
        world.table.split()
        world.table.trim()
    elif damage == "other stream":
        arn = OTHER_ARN
    elif damage == "damaged":
        world.store.add([], cursor='{"stream": 7}')
    else:
        world.table.page = 1
        for number in range(MOST_PAGES + 1):
            world.put("b", value=number)
    world.restart(arn)
    expected = ["leave a", "update b"] if damage == "far behind" else ["leave a"]
    assert world.step() == expected
    assert "stream.lost" in [record.message for record in caplog.records]
    world.put("d")
    assert world.step() == ["join d"]


def test_a_position_that_is_deleted_while_watching(world: WatchedStream) -> None:
    """A watcher that was suspended for a day reads everything once, and goes on."""
    world.put("a")
    world.step()
    world.put("b")
    world.table.split()
    world.table.trim()
    assert world.step() == ["join b"]
    world.put("c")
    assert world.step() == ["join c"]
    assert world.table.scans == 2


def test_an_expired_iterator_is_renewed(world: WatchedStream) -> None:
    """After a pause of 15 minutes the stream is read on from the last record; without one, the table is read."""
    world.put("a")
    world.step()
    world.table.expire()
    world.put("b")
    assert world.step() == ["join b"]
    assert world.table.scans == 2
    world.put("b", value=1)
    assert world.step() == ["update b"]
    world.table.expire()
    world.put("c")
    assert world.step() == ["join c"]
    assert world.table.scans == 2


def test_a_read_that_fails_half_way_loses_nothing(world: WatchedStream) -> None:
    """What one shard has returned is kept when the next one cannot be read."""
    world.put("a")
    world.table.split()
    world.step()
    world.table.page = 1
    for name in ("b", "c", "d", "e"):
        world.put(name)
    get, world.table.error = world.table.get_records, None
    calls = iter([None, None, Throttled(), *[None] * 100])

    def throttled(ShardIterator: str) -> Any:  # noqa: N803
        if error := next(calls):
            raise error
        return get(ShardIterator)

    world.table.get_records = throttled  # type: ignore[method-assign]
    with pytest.raises(Unreachable, match="throttled"):
        world.step()
    assert sorted(world.step()) == ["join b", "join c", "join d", "join e"]
    assert world.table.scans == 1


def test_a_failure_is_confirmed_by_a_scan(world: WatchedStream) -> None:
    """The stream may be late: a heartbeat that is in the table only refutes a failure."""
    world.put("a")
    world.step()
    world.answers.dead = {"a"}
    assert world.step(16) == []
    world.table.heartbeat("a", "1")
    late = world.table.shards[0].records.pop()
    assert world.step() == []
    world.table.shards[0].records.append(late)
    assert world.step(16) == []
    assert world.step() == ["failed a"]
    assert world.table.scans == 3


def test_a_disabled_stream_is_not_found(world: WatchedStream) -> None:
    """The feed of the table then scans instead."""
    world.put("a")
    world.step()
    world.table.status = "DISABLED"
    world.table.shards[0].open = False
    with pytest.raises(NotFound):
        world.step()


def test_the_position_is_stored_with_the_events(world: WatchedStream) -> None:
    """A watcher that is killed before its events were stored finds them again in the stream."""
    world.put("a")
    world.step()
    world.put("a", value=1)
    world.step()
    world.table.leave("a", "1")
    world.put("a", "2", value=1)
    world.feed.changes()  # read, and not stored
    world.restart()
    assert world.step() == ["leave a", "join a"]


def test_a_stream_without_records_has_no_cursor() -> None:
    """The end of a shard has no number; neither has a stream that was not read."""
    table = StreamedTable(Clock())
    stream = TableStream(cast(Any, table), ARN)
    stream.latest()
    assert stream.read() == []
    assert stream.cursor is None
    with pytest.raises(CursorLost, match="damaged"):
        stream.resume("null")
