"""When a call over a scripted fleet ends, and the outcome of each node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.scripted_calls import SILENT, TIMEOUT, call_shell, network_of
from support.scripted_fleet import Part, Scripted, answer

from collective.errors import Unreachable
from collective.fleet.pace import Pace
from collective.fleet.targets import Targets
from collective.registry import NodeRecord
from collective.transport import Delivery

CASES = Path(__file__).parent / "cases" / "rollout"
STATS = json.loads((CASES / "stats.json").read_text(encoding="utf-8"))["cases"]


def test_a_silent_node_takes_exactly_the_timeout(tmp_path: Path) -> None:
    """A node that does not reply is silent when the timeout is over."""
    network = network_of("a", b=SILENT)
    call = call_shell(network, tmp_path)
    assert call.wait().silent == ["b"]
    assert network.time == TIMEOUT


def test_replies_that_arrived_in_time_count(tmp_path: Path) -> None:
    """When the timeout is over, replies that are already in the queue still count."""
    network = Scripted({f"web{number:02}": Part(after=TIMEOUT) for number in range(25)})
    assert call_shell(network, tmp_path).wait().counts()["ok"] == 25


def test_endless_duplicates_do_not_hold_up_a_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Duplicates extend the timeout of other nodes by 5 s at most."""
    network = network_of("a", b=SILENT)
    call = call_shell(network, tmp_path)
    receive = network.receive

    def flooded(queue: str, _wait: float) -> list[Delivery]:
        network.time += 0.5
        network.arrive(answer(network.sent[0].request, "a"))
        return receive(queue, 0)

    monkeypatch.setattr(network, "receive", flooded)
    assert call.wait().silent == ["b"]
    assert network.time == TIMEOUT + 5.0


def test_a_slow_caller_loses_no_reply_that_was_sent_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replies that were sent in time count, however long the caller takes until it has received them."""
    network = Scripted({f"web{number:03}": Part(after=1.0) for number in range(200)})
    receive = network.receive

    def slow(queue: str, wait: float) -> list[Delivery]:
        found = receive(queue, wait)
        network.time += 2.0 if found else 0.0  # 40 s for all replies
        return found

    monkeypatch.setattr(network, "receive", slow)
    assert call_shell(network, tmp_path).wait().counts()["ok"] == 200
    assert network.time > TIMEOUT + 10


def test_a_call_ends_when_its_queue_is_filled_all_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old messages of others extend the timeout of a node by a minute at most."""
    network = network_of("a", b=SILENT)
    call = call_shell(network, tmp_path)
    old = [Delivery("x", -100.0, 0.0, "r")]

    def flooded(_queue: str, _wait: float) -> list[Delivery]:
        network.time += 0.5
        return old

    monkeypatch.setattr(network, "receive", flooded)
    assert call.wait().silent == ["a", "b"]
    assert network.time == TIMEOUT + 60.0


def test_an_unresponsive_node_is_silent_early(tmp_path: Path) -> None:
    """A node that leaves its queue unread is silent after 7 s, whatever the timeout is."""
    network = network_of("a", b=Part(after=1.0, wakes=900.0))
    assert call_shell(network, tmp_path, timeout=180.0).wait().silent == ["b"]
    assert network.time == 7.0


def test_a_node_that_reads_late_is_not_unresponsive(tmp_path: Path) -> None:
    """A queue must be found unread twice before its node is unresponsive."""
    network = network_of("a", b=Part(after=50.0, wakes=6.0))
    assert sorted(call_shell(network, tmp_path, timeout=180.0).wait().ok) == ["a", "b"]


def test_timeouts_are_suspended_while_the_program_is_busy(tmp_path: Path) -> None:
    """A program that spends a minute on each reply loses no other reply."""
    network = network_of("a", b=Part(after=2.0), c=SILENT)
    call = call_shell(network, tmp_path)
    for _ in call:
        network.time += 60.0
    assert (sorted(call.outcomes.ok), call.outcomes.silent) == (["a", "b"], ["c"])
    assert network.time == 120.0 + TIMEOUT


def test_an_error_in_the_middle_of_a_rollout_keeps_the_outcomes(tmp_path: Path) -> None:
    """When the transport fails, a node that may have been reached is silent, and the nodes after it are skipped."""
    network = network_of("abcd")
    call = call_shell(network, tmp_path, pace=Pace(1))

    def take() -> None:
        for _ in call:
            network.error = Unreachable("away")

    with pytest.raises(Unreachable):
        take()
    outcomes = call.outcomes
    assert (outcomes.ok, outcomes.silent, sorted(outcomes.skipped)) == (["a"], ["b"], ["c", "d"])


def test_a_program_that_stops_iterating_stops_the_rollout(tmp_path: Path) -> None:
    """No node is reached after the last reply that the program has read; the other nodes are skipped."""
    network = network_of("abcd")
    call = call_shell(network, tmp_path, pace=Pace(1))
    for reply in call:
        if reply.sender == "b":
            break
    call.close()
    call.close()
    assert [sent.node for sent in network.sent] == ["a", "b"]
    assert sorted(call.outcomes.skipped) == ["c", "d"]


def test_closing_without_iterating_frees_the_slot(tmp_path: Path) -> None:
    """A closed call frees its reply queue, and open calls have one each."""
    network = network_of("a")
    with network.fleet(tmp_path) as fleet:
        fleet.call("rpcutil", "ping").close()
        first, second = fleet.call("rpcutil", "ping"), fleet.call("rpcutil", "ping")
        queues = [sent.request.reply_to for sent in network.sent]
        assert queues[0] == queues[1] != queues[2]
        assert first.request_id != second.request_id
    assert [path.name for path in sorted((tmp_path / "slots" / "scripted").iterdir())] == ["0", "1"]
    network.fleet(tmp_path).call("rpcutil", "ping").close()
    assert network.sent[-1].request.reply_to == queues[0]


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in STATS])
def test_outcomes_and_times_are_those_of_the_case(tmp_path: Path, case: dict[str, Any]) -> None:
    """Silent and unexpected nodes and the total time, which includes discovery, are those of MCollective's tests."""
    known, expected = case["input"], case["expected"]
    discovered = known.get("discovered", ["one"])
    responded = known.get("responded", discovered)
    network = Scripted({node: Part(after=known.get("block_time", 1)) if node in responded else SILENT
                        for node in discovered})  # fmt: skip
    call = network.fleet(tmp_path, discovery=known.get("discovery_time", 0)).call("rpcutil", "ping", timeout=TIMEOUT)
    for stranger in sorted(set(responded) - set(discovered)):
        network.registry.put(NodeRecord(stranger, "1"))  # others do not count
        network.arrive(answer(network.sent[0].request, stranger))
    outcomes = call.wait()
    found = {
        "noresponsefrom": outcomes.silent,
        "unexpectedresponsefrom": outcomes.unexpected,
        "no_response_report": ", ".join(outcomes.silent),
        "totaltime": call.total_ms / 1000,
    }
    assert {name: found[name] for name in expected} == expected


def test_a_broadcast_discovery_ends_after_two_seconds_without_a_reply(tmp_path: Path) -> None:
    """Without a registry, a broadcast discovery returns the nodes that replied, and ends before its timeout."""
    network = network_of("a", b=Part(after=1.5), c=SILENT)
    found = network.fleet(tmp_path, registered=[]).discover(Targets(method="broadcast"))
    assert (found, network.time) == (["a", "b"], 3.5)
    assert (network.broadcasts, network.sent[0].request.targets) == (1, None)


def test_with_a_registry_every_live_node_is_asked_by_name(tmp_path: Path) -> None:
    """The discovery ends with the last answer, and a node that does not answer is silent."""
    network = network_of("a", b=Part(after=0.5))
    fleet = network.fleet(tmp_path)
    assert fleet.find(Targets(method="broadcast")).nodes == ("a", "b")
    assert (network.time, network.sent[0].request.targets) == (1.0, ("a", "b"))
    network.parts["b"] = SILENT
    found = fleet.find(Targets(method="broadcast"))
    assert (found.nodes, found.silent) == (("a",), ("b",))


def test_a_node_that_does_not_answer_in_the_discovery_is_silent(tmp_path: Path) -> None:
    """The call has no reply of it, and ends with 3; if no other node matches, nothing is sent."""
    network = network_of("a", b=SILENT)
    fleet = network.fleet(tmp_path)
    call = fleet.call("rpcutil", "ping", targets=Targets(method="broadcast"))
    outcomes = call.wait()
    assert (outcomes.ok, outcomes.silent, outcomes.exit_code()) == (["a"], ["b"], 3)
    network.parts["a"] = SILENT
    call = fleet.call("rpcutil", "ping", targets=Targets(method="broadcast"))
    outcomes = call.wait()
    assert (outcomes.ok, outcomes.silent, outcomes.exit_code()) == ([], ["a", "b"], 3)
    assert call.request_id in {sent.request.id for sent in network.sent}


def test_stale_nodes_are_named_and_can_be_expected(tmp_path: Path) -> None:
    """A node that was not seen recently is not asked, and with `expect_all` counts as silent."""
    network = network_of("a")
    for expect_all, code in ((False, 0), (True, 3)):
        fleet = network.fleet(tmp_path / str(expect_all), expect_all=expect_all)
        stale = NodeRecord("b", "1", agents={"rpcutil": "1"}, last_seen=-1000.0)
        network.registry._records["b"] = stale  # noqa: SLF001 - as of an earlier time
        outcomes = fleet.call("rpcutil", "ping").wait()
        assert outcomes.not_asked == {"b": "last seen 17 minutes ago"}
        assert (outcomes.ok, outcomes.exit_code()) == (["a"], code)
        assert outcomes.silent == (["b"] if expect_all else [])
