"""Whether nodes without heartbeats have failed, for a node that watches: by messages to their queues."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from support.membership import Clock

from collective import names
from collective.errors import Forbidden, Unreachable
from collective.membership.confirmation import EXAMINATIONS, SILENT_PERIODS, InBackground, Suspect, Verdict
from collective.membership.queue_look import SECOND_LOOK
from collective.membership.queue_probe import FIRST_LOOK, QueueProbe
from collective.transport import WAKE
from collective.transport.memory import MemoryTransport

COLLECTIVE = "test"


def suspect(name: str, periods: float = 1.6) -> Suspect:
    return Suspect(name, 100.0, periods * 10, periods)


class Queues(MemoryTransport):
    """Queues of nodes; `readers` acknowledge after some seconds, `errors` are raised for the others."""

    def __init__(self) -> None:
        self.clock = Clock()
        super().__init__(self.clock)
        self.readers: dict[str, float] = {}
        self.errors: dict[str, Unreachable | Forbidden] = {}
        self.bodies: list[str] = []

    def node(self, name: str, reads_after: float | None = None) -> str:
        """Create the queue of a node; return its name."""
        queue = names.node_queue(COLLECTIVE, name)
        self.open_node(queue, "topic")
        if reads_after is not None:
            self.readers[queue] = self.clock.time + reads_after
        return queue

    def send(self, queue: str, body: str) -> None:
        """Put a message into a queue."""
        if queue in self.errors:
            raise self.errors[queue]
        super().send(queue, body)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.time += seconds
        for queue, when in self.readers.items():
            if when <= self.clock.time:
                deliveries = self.receive(queue, 0.0)
                self.bodies += [delivery.body for delivery in deliveries]
                self.acknowledge(queue, deliveries)


def examine(queues: Queues, *suspects: Suspect) -> dict[str, tuple[bool, str]]:
    found = QueueProbe(queues, COLLECTIVE, queues.wait).examine(suspects)
    return {one.suspect.identity: (one.failed, one.why) for one in found}


def test_each_node_gets_its_verdict() -> None:
    """A node that acknowledges the message is alive; one that does not, or has no queue, has failed."""
    queues = Queues()
    queues.node("reads", 0.1)
    queues.node("slow", FIRST_LOOK + SECOND_LOOK / 2)
    queues.node("dead")
    assert examine(queues, *map(suspect, ("reads", "slow", "dead", "gone"))) == {
        "reads": (False, "it reads its queue"),
        "slow": (False, "it reads its queue"),
        "dead": (True, "no heartbeat for 16 s, and its queue is not read"),
        "gone": (True, "no heartbeat for 16 s, and its queue does not exist"),
    }
    assert set(queues.bodies) == {WAKE}


def test_a_message_that_a_dead_poll_has_taken_is_not_acknowledged() -> None:
    """The poll of a killed daemon may receive the message: it is invisible, but the node has failed."""

    class TakenAtOnce(Queues):
        def send(self, queue: str, body: str) -> None:
            super().send(queue, body)
            self.receive(queue, 0.0)

    taken = TakenAtOnce()
    queue = taken.node("dead")
    found = QueueProbe(taken, COLLECTIVE, taken.wait).examine([suspect("dead")])
    assert taken.unread(queue) == 0
    assert [one.failed for one in found] == [True]


def test_without_permission_long_silence_decides(caplog: pytest.LogCaptureFixture) -> None:
    """A node that may not be asked has failed after six periods; the log says once what is missing."""
    queues = Queues()
    for name in ("short", "long"):
        queues.errors[queues.node(name)] = Forbidden("AccessDenied")
    found = examine(queues, suspect("short", SILENT_PERIODS - 0.1), suspect("long", SILENT_PERIODS))
    assert found == {"long": (True, "no heartbeat for 60 s")}
    assert [record.message for record in caplog.records] == ["membership.unconfirmed"]


def test_a_node_that_cannot_be_reached_has_no_verdict() -> None:
    """A watcher that is cut off itself reports no failures."""
    queues = Queues()
    queues.errors[queues.node("cut")] = Unreachable("no answer")
    assert examine(queues, suspect("cut", 100)) == {}


class Waiting:
    """An examiner whose examinations last until `end`."""

    def __init__(self) -> None:
        self.end = threading.Event()
        self.examined: list[str] = []

    def examine(self, suspects: Sequence[Suspect]) -> list[Verdict]:
        """Wait for `end`."""
        self.examined += [one.identity for one in suspects]
        self.end.wait(20)
        return [Verdict(one, True, "") for one in suspects]


def test_one_examination_does_not_delay_the_next() -> None:
    """Suspects of later steps are examined at the same time, each once, with a limit on the threads."""
    examiner = Waiting()
    checking = InBackground(examiner)
    everyone = [suspect(f"node{number}") for number in range(EXAMINATIONS + 2)]
    for number in range(1, len(everyone) + 1):
        checking.begin(everyone[:number])
    assert sorted(examiner.examined) == [f"node{number}" for number in range(EXAMINATIONS)]
    examiner.end.set()
    checking.join()
    assert len(checking.results()) == EXAMINATIONS
    checking.begin(everyone[EXAMINATIONS:])
    checking.join()
    assert sorted(one.suspect.identity for one in checking.results()) == ["node4", "node5"]
