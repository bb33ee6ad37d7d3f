"""Whether nodes without heartbeats have failed: by a ping, and by their queues."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.scripted_fleet import Part, Scripted

from collective.errors import Unreachable
from collective.fleet.failure_check import FailureCheck
from collective.membership.confirmation import InBackground, Suspect
from collective.membership.queue_look import SECOND_LOOK

NEVER = 1e9


class HidingNodes(Scripted):
    """HidingNodes of which some have no queue, or one that cannot be looked into."""

    hidden: frozenset[str] = frozenset()

    def unread(self, queue: str) -> int:
        """Return the number of unread requests; raise Unreachable for hidden queues."""
        if any(self._queues[queue] == name for name in self.hidden):
            raise Unreachable("no answer")
        return super().unread(queue)


def suspects(*names: str) -> list[Suspect]:
    return [Suspect(name, 100.0, 16.0, 1.6) for name in names]


def check(network: Scripted, folder: Path) -> FailureCheck:
    def wait(seconds: float) -> None:
        network.time += seconds

    return FailureCheck(network.fleet(folder), network, wait)


def test_each_node_gets_its_verdict(tmp_path: Path) -> None:
    """A node that answers, or reads its queue, is alive; one that does neither has failed; else it is not known."""
    network = HidingNodes(
        {
            "answers": Part(after=0.1),
            "reads": Part(after=None),  # such as one that does not trust the key
            "dead": Part(after=None, wakes=NEVER),
            "slow": Part(after=None, wakes=3.0 + SECOND_LOOK / 2),
            "hidden": Part(after=None, wakes=NEVER),
        }
    )
    network.hidden = frozenset({"hidden"})
    names = list(network.parts)
    found = {one.suspect.identity: (one.failed, one.why) for one in check(network, tmp_path).examine(suspects(*names))}
    assert found == {
        "answers": (False, "it answers"),
        "reads": (False, "it reads its queue"),
        "dead": (True, "no heartbeat for 16 s, no reply, and its queue is not read"),
        "slow": (False, "it reads its queue"),
    }


def test_the_work_is_done_in_the_background(tmp_path: Path) -> None:
    """Results are there after the thread has ended, and once."""
    network = HidingNodes({"dead": Part(after=None, wakes=NEVER)})
    done: list[bool] = []
    checking = InBackground(check(network, tmp_path), lambda: done.append(True))
    checking.begin(suspects("dead"))
    checking.join()
    assert done == [True]
    assert [one.failed for one in checking.results()] == [True]
    assert checking.results() == []
    checking.begin([])
    checking.join()
    assert checking.results() == []


def test_without_a_connection_nothing_has_failed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A watcher that is cut off itself reports no failures, and logs why once."""
    network = HidingNodes({"dead": Part(after=None, wakes=NEVER)})
    network.error = Unreachable("no answer")
    checking = InBackground(check(network, tmp_path))
    for _ in range(3):
        checking.begin(suspects("dead"))
        checking.join()
    assert checking.results() == []
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == ["membership.unconfirmed"]
