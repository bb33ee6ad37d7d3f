"""1,000 nodes that start, stop, crash and change while heartbeats are lost and the watcher is restarted at random.

Every change of a node is exactly one event, no living node is called failed, and an event comes twice only if the
watcher was killed while it was being delivered, with the same number.
"""

from __future__ import annotations

import os
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

import pytest
from support.streamed_table import ARN, StreamedTable

from collective.membership import ALIVE, Event, MemberView, StateFile, Watcher
from collective.membership.confirmation import Suspect, Verdict
from collective.registry import NodeRecord
from collective.registry.dynamodb import DynamoDBRegistry
from collective.registry.feed import Feed, FullReads
from collective.registry.memory import MemoryRegistry
from collective.registry.streamed_reads import StreamedReads
from collective.registry.table_stream import TableStream

NODES = int(os.environ.get("MEMBERSHIP_NODES", "1000"))
SEEDS = os.environ.get("MEMBERSHIP_SEEDS", "1").split()
PERIOD, STEP, SECONDS = 10.0, 2.5, float(os.environ.get("MEMBERSHIP_SECONDS", "280"))
CALM = 60.0  # seconds between two changes of a node: longer than a restart and a confirmation take
LOST, UNKNOWN = 0.05, 0.1  # shares of the heartbeats, and of the confirmations without a result
DISTURBED = 0.1  # share of the steps before which something happens to the stream


class RestlessFleet:
    """The nodes: `expected` are the events that each of them should have had. `streamed`: the table has a stream."""

    def __init__(self, seed: str, nodes: int, *, streamed: bool) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - must be repeatable, not secret
        self.time = 10_000.0
        self.table = StreamedTable(lambda: self.time) if streamed else None
        self.registry = self.table or MemoryRegistry(lambda: self.time)
        self.names = [f"node{number:04}" for number in range(nodes)]
        self.running: set[str] = set()
        self.expected: dict[str, list[str]] = defaultdict(list)
        self.beats = {name: self.time + self.chance.random() * PERIOD for name in self.names}
        self.next = {name: self.time + CALM + self.chance.random() * SECONDS / 2 for name in self.names}
        self.value: dict[str, int] = defaultdict(int)
        for name in self.names[: nodes * 9 // 10]:
            self.start(name)

    def feed(self) -> Feed:
        """Return a feed of the registry."""
        if self.table is None:
            return FullReads(cast(MemoryRegistry, self.registry))
        return StreamedReads(cast(DynamoDBRegistry, self.table), TableStream(cast(Any, self.table), ARN))

    def disturb(self) -> None:
        """Let something happen to the stream: shards end, iterators expire, old records are deleted."""
        if self.table is not None:
            happens: list[Callable[[], None]] = [self.table.split, self.table.expire, self.table.trim, lambda: None]
            self.chance.choice(happens)()
            if len(self.table.shards) > 30:
                self.table.trim()

    def start(self, name: str) -> None:
        """Register a node."""
        self.running.add(name)
        self.expected[name].append("join")
        self.put(name)

    def put(self, name: str) -> None:
        """Publish the record of a node."""
        facts = {"role": "web", "value": self.value[name]}
        self.registry.put(NodeRecord(name, "1", facts=facts, instance="1", period=PERIOD))

    def advance(self, seconds: float) -> None:
        """Let time pass: heartbeats, of which some are lost, and changes."""
        self.time += seconds
        for name in self.names:
            if self.next[name] <= self.time and self.time < 10_000.0 + SECONDS - CALM:
                self.next[name] = self.time + CALM * (1 + self.chance.random())
                self.change(name)
            if self.beats[name] <= self.time:
                self.beats[name] += PERIOD
                if name in self.running and self.chance.random() >= LOST:
                    self.registry.heartbeat(name, "1")

    def change(self, name: str) -> None:
        """Stop, kill or change a node that runs; start one that does not."""
        if name not in self.running:
            self.start(name)
            return
        kind = self.chance.choice(["leave", "failed", "update"])
        self.expected[name].append(kind)
        if kind == "update":
            self.value[name] += 1
            self.put(name)
            return
        self.running.remove(name)
        if kind == "leave":
            self.registry.leave(name, "1")

    # -- the confirmation

    def begin(self, suspects: Iterable[Suspect]) -> None:
        """Decide by the truth; some have no result."""
        self.verdicts = [
            Verdict(one, one.identity not in self.running, "") for one in suspects if self.chance.random() >= UNKNOWN
        ]

    def results(self) -> list[Verdict]:
        """Return the verdicts since the last call."""
        found, self.verdicts = getattr(self, "verdicts", []), []
        return found

    def join(self) -> None:
        """Return at once."""


class Operator:
    """Runs the watcher, delivers its events, and stops and kills it at random."""

    def __init__(self, fleet: RestlessFleet, path: Path) -> None:
        self.fleet = fleet
        self.path = path
        self.received: list[Event] = []
        self.interrupted: set[int] = set()  # events during whose delivery the watcher was killed
        self.restarts = 0
        self.start()

    def start(self) -> None:
        """Start a watcher, which first delivers what is pending."""
        self.store = StateFile(self.path, "test")
        self.watcher = Watcher(self.fleet.feed(), self.store, MemberView(), self.fleet, collective="test")
        self.deliver(self.store.pending())

    def deliver(self, events: list[Event]) -> None:
        """Deliver all events, or be killed somewhere between them."""
        chance = self.fleet.chance
        killed_at = chance.randrange(len(events) + 1) if events and chance.random() < 0.05 else len(events)
        for event in events[:killed_at]:
            self.received.append(event)
            assert event.kind != "failed" or event.member.identity not in self.fleet.running
        self.store.delivered(events[:killed_at])
        if killed_at < len(events):
            if chance.random() < 0.5:  # after the handler ran, before that was stored
                self.received.append(events[killed_at])
                self.interrupted.add(events[killed_at].number)
            self.restart()

    def restart(self) -> None:
        """Start another watcher some seconds later."""
        self.restarts += 1
        self.store.close()
        self.fleet.advance(self.fleet.chance.random() * 15)
        self.start()

    def step(self) -> None:
        """Let time pass, read once; or be stopped, or killed before anything is delivered."""
        self.fleet.advance(STEP)
        fate = self.fleet.chance.random()
        if self.fleet.chance.random() < DISTURBED:
            self.fleet.disturb()
        if fate < 0.05:
            self.restart()
            return
        events = self.watcher.step()
        if fate < 0.10:
            self.restart()
        else:
            self.deliver(events)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("nodes", "streamed"), [(NODES, False), (NODES // 4, True)], ids=["scans", "stream"])
def test_no_event_is_lost_or_repeated_and_no_failure_is_false(
    tmp_path: Path, seed: str, nodes: int, streamed: bool
) -> None:
    """The events of each node are those of its life, in order."""
    fleet = RestlessFleet(seed, nodes, streamed=streamed)
    operator = Operator(fleet, tmp_path / "state")
    while fleet.time < 10_000.0 + SECONDS:
        operator.step()
    numbers = [event.number for event in operator.received]
    repeated = {number for number, count in Counter(numbers).items() if count > 1}
    assert repeated == operator.interrupted
    assert sorted(set(numbers)) == list(range(1, max(numbers) + 1))
    events = {event.number: event for event in operator.received}
    found: dict[str, list[str]] = defaultdict(list)
    for _, event in sorted(events.items()):
        found[event.member.identity].append(event.kind)
    assert found == fleet.expected
    assert operator.restarts > 5
    assert sum(kinds.count("failed") for kinds in found.values()) > nodes / 20
    alive = {name for name, one in operator.watcher.snapshot.members.items() if one.state == ALIVE}
    assert alive == fleet.running
    operator.store.close()
