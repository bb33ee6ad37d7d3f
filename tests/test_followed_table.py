"""A table is followed by its stream if it has one, else by paced reads of what has changed."""

from __future__ import annotations

from typing import Any, cast

import pytest
from support.membership import Clock
from support.streamed_table import StreamedTable

from collective.aws.session import AWS
from collective.registry import NodeRecord
from collective.registry.dynamodb import DynamoDBRegistry
from collective.registry.feed import Observation
from collective.registry.followed_table import LOOK, FollowedTable
from collective.registry.paced_reads import PacedReads


class TableAndFeed:
    """A table, and a feed of it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.table = StreamedTable(self.clock)
        self.feed = FollowedTable(cast(AWS, self.table), "t", self.clock)

    def put(self, identity: str, **facts: object) -> None:
        """Publish the record of a node, some time later."""
        self.clock.time += 1
        self.table.put(NodeRecord(identity, "1", instance="1", facts=facts))


@pytest.fixture
def world() -> TableAndFeed:
    return TableAndFeed()


def seen(observations: Any) -> list[tuple[bool, list[str], list[str]]]:
    """Return what observations have: whether they are complete, which records, and which were removed."""
    return [
        (one.complete, sorted(record.identity for record in one.contents.records), sorted(one.removed))
        for one in observations
    ]


def test_a_stream_is_used(world: TableAndFeed) -> None:
    """One Scan, then only the stream."""
    world.put("a")
    assert seen(world.feed.changes()) == [(True, ["a"], [])]
    world.put("b")
    assert seen(world.feed.changes()) == [(False, ["b"], [])]
    assert world.table.scans == 1
    assert world.feed.cursor


def test_a_stream_that_is_disabled_is_replaced_by_scans(world: TableAndFeed, caplog: pytest.LogCaptureFixture) -> None:
    """The first Scan after that is complete, and there is no cursor any more."""
    caplog.set_level("INFO", "collective")
    world.put("a")
    world.feed.changes()
    world.put("b")
    world.table.status = "DISABLED"
    world.table.shards[0].open = False
    assert seen(world.feed.changes()) == [(True, ["a", "b"], [])]
    assert "stream.unavailable" in [record.message for record in caplog.records]
    assert world.feed.cursor is None
    world.put("b", role="web")
    assert seen(world.feed.changes()) == [(False, ["b"], [])]


@pytest.mark.parametrize("why", ["disabled", "keys only", "forbidden"])
def test_a_stream_that_cannot_be_used_is_looked_for_again(world: TableAndFeed, why: str) -> None:
    """Without a stream of new images, or the permission, the table is scanned, until a later look finds one."""
    table = world.table
    table.status = "DISABLED" if why == "disabled" else "ENABLED"
    table.view = "KEYS_ONLY" if why == "keys only" else "NEW_IMAGE"
    table.forbidden = why == "forbidden"
    world.put("a")
    assert seen(world.feed.changes()) == [(True, ["a"], [])]
    assert world.feed.cursor is None
    table.status, table.view, table.forbidden = "ENABLED", "NEW_IMAGE", False
    assert seen(world.feed.changes()) == [(False, [], [])]
    world.clock.time += LOOK
    assert seen(world.feed.changes()) == [(True, ["a"], [])]
    world.put("b")
    assert seen(world.feed.changes()) == [(False, ["b"], [])]
    assert world.feed.cursor


@pytest.fixture
def paced(world: TableAndFeed) -> PacedReads:
    return PacedReads(DynamoDBRegistry(cast(AWS, world.table), "t"))


def test_paced_reads_return_what_has_changed(world: TableAndFeed, paced: PacedReads) -> None:
    """Heartbeats cost one Scan, changes a second one; nothing that is unchanged is returned."""
    for identity in ("a", "b", "c"):
        world.put(identity)
    assert seen(paced.changes()) == [(True, ["a", "b", "c"], [])]
    scans = world.table.scans
    assert seen(paced.changes()) == [(False, [], [])]
    world.clock.time += 5
    world.table.heartbeat("a", "1")
    [observation] = paced.changes()
    assert [record.last_seen for record in observation.contents.records] == [world.clock.time]
    assert world.table.scans == scans + 2
    world.put("b", role="web")
    world.table.leave("c", "1")
    world.put("d")
    [observation] = paced.changes()
    assert seen([observation]) == [(False, ["b", "c", "d"], [])]
    assert world.table.scans == scans + 4
    world.table.delete("a")
    assert seen(paced.changes()) == [(False, [], ["a"])]
    assert seen(paced.changes(complete=True)) == [(True, ["b", "c", "d"], [])]


def test_paced_reads_keep_what_cannot_be_read_any_more(world: TableAndFeed, paced: PacedReads) -> None:
    """An item that became invalid is named, and not removed."""
    world.put("a")
    paced.changes()
    world.table.items["a"]["last_seen"] = {"N": "-1"}
    [observation] = paced.changes()
    assert observation == Observation(observation.contents, False)
    assert list(observation.contents.invalid) == ["a"]
