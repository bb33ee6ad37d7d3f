"""Calls over a scripted fleet: which nodes are sent to, which replies count, and the outcome of every node."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.scripted_fleet import Part, Scripted, Sent, answer

from collective.errors import MessageTooLarge, NoNodes, TooManyTargets, Unreachable, UsageError
from collective.fleet.amounts import Amount
from collective.fleet.call import Call
from collective.fleet.outcomes import MAX_REJECTED
from collective.fleet.pace import Pace
from collective.fleet.targets import Targets
from collective.messages import Reply
from collective.registry import NodeRecord
from collective.testing import memory_fleet
from collective.transport import Delivery

CASES = Path(__file__).parent / "cases" / "rollout"
STATS = json.loads((CASES / "stats.json").read_text(encoding="utf-8"))["cases"]
SILENT = Part(after=None)
TIMEOUT = 10.0


def network_of(nodes: str, **odd: Part) -> Scripted:
    """Return a fleet with a node for each letter, which replies after a second unless it is in `odd`."""
    return Scripted({**dict.fromkeys(nodes, Part()), **odd})


def call_shell(
    network: Scripted, folder: Path, *, client: dict[str, Any] | None = None, timeout: float = TIMEOUT, **options: Any
) -> Call:
    """Call an action that is not idempotent."""
    return network.fleet(folder, **(client or {})).call("shell", "run", {"command": "true"}, timeout=timeout, **options)


# -- sending


def test_a_call_has_sent_before_it_returns(tmp_path: Path) -> None:
    """A call to a few nodes sends to each of them before it returns, and has received nothing yet."""
    network = network_of("abc")
    call = call_shell(network, tmp_path)
    assert (network.direct, network.broadcasts, network.receives) == (3, 0, 0)
    assert {sent.request.targets for sent in network.sent} == {("a", "b", "c")}
    assert sorted(reply.sender for reply in call) == ["a", "b", "c"]
    assert network.time == 1.0  # the slowest reply


def test_a_call_to_many_nodes_is_published(tmp_path: Path) -> None:
    """Up to `direct_limit` nodes are sent to directly; more get one published message, with the same targets."""
    few, many = network_of("abc"), network_of("abcd")
    call_shell(few, tmp_path / "few", client={"direct_limit": 3}).wait()
    call_shell(many, tmp_path / "many", client={"direct_limit": 3}).wait()
    assert (few.direct, few.broadcasts) == (3, 0)
    assert (many.direct, many.broadcasts) == (0, 1)
    assert many.sent[0].request.targets == ("a", "b", "c", "d")


def test_a_secret_is_never_published(tmp_path: Path) -> None:
    """An input that the DDL marks writeOnly is sent to its targets directly, however many there are."""
    ddl = {
        "metadata": {"name": "vault", "description": "Keeps", "version": "1"},
        "actions": {
            "keep": {
                "description": "Keep a password",
                "input": {"type": "object", "properties": {"password": {"type": "string", "writeOnly": True}}},
                "output": {"type": "object", "properties": {}},
            }
        },
    }
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "vault.json").write_text(json.dumps(ddl))
    (tmp_path / "plugins" / "vault.py").write_text(
        "from collective.agent import action\n@action\ndef keep(password='x'):\n    return {}\n"
    )
    plugins = [tmp_path / "plugins"]
    with memory_fleet(tmp_path, {"a": {}, "b": {}}, code=plugins, ddls=plugins, client={"direct_limit": 1}) as network:
        assert network.fleet.call("vault", "keep", {"password": "hunter2"}).wait().exit_code() == 0
        assert not any(name.endswith("_requests") for name in network.transport.sent)
        assert network.fleet.call("vault", "keep").wait().exit_code() == 0
        assert network.transport.sent["testing_requests"] == 1


def test_a_node_without_a_queue_is_not_waited_for(tmp_path: Path) -> None:
    """A node without a queue is absent and silent, and the call does not wait for it."""
    network = network_of("a", b=Part(absent=True))
    call = call_shell(network, tmp_path, targets=Targets(nodes=["a", "b"]))
    assert call.absent == ["b"]
    assert (call.wait().silent, network.time) == (["b"], 1.0)


def test_a_finished_call_is_not_kept_in_memory(tmp_path: Path) -> None:
    """The fleet holds no reference to a call that has ended."""
    fleet = network_of("a").fleet(tmp_path)
    call = fleet.call("rpcutil", "ping")
    call.wait()
    over = weakref.ref(call)
    del call
    fleet.call("rpcutil", "ping").wait()
    gc.collect()
    assert over() is None


def test_no_nodes_is_an_error_and_sends_nothing(tmp_path: Path) -> None:
    """An empty list of nodes, or a filter that matches no node, raises NoNodes and sends nothing."""
    network = network_of("a")
    for targets in (Targets(nodes=[]), Targets.select(facts=["role=db"])):
        with pytest.raises(NoNodes):
            call_shell(network, tmp_path, targets=targets)
    assert network.sent == []


@pytest.mark.parametrize(
    ("value", "arguments"),
    [
        (Targets, {"limit": "0%"}),
        (Targets, {"limit_seed": 3}),
        (Targets, {"method": "telepathy"}),
        (Targets, {"nodes": ["web 1"]}),
        (Pace, {"concurrency": 0}),
        (Pace, {"batch": "1.1"}),
        (Pace, {"batch_sleep": 1.0}),
        (Pace, {"max_fail": -1}),
    ],
)
def test_invalid_targets_and_paces_cannot_be_created(value: type, arguments: dict[str, Any]) -> None:
    """An invalid argument raises UsageError, which contains the argument's name or its value."""
    name, invalid = next(iter(arguments.items()))
    with pytest.raises(UsageError, match="web 1" if invalid == ["web 1"] else name):
        value(**arguments)


def test_an_error_while_sending_is_raised_and_frees_the_slot(tmp_path: Path) -> None:
    """After a failed call, the next call uses the same reply queue."""
    network = network_of("ab")
    fleet = network.fleet(tmp_path)
    network.error = Unreachable("away")
    with pytest.raises(Unreachable):
        fleet.call("rpcutil", "ping")
    network.error = None
    fleet.call("rpcutil", "ping").wait()
    fleet.call("rpcutil", "ping").wait()
    assert len({sent.request.reply_to for sent in network.sent}) == 1


# -- which replies count


def test_late_replies_of_earlier_calls_are_ignored(tmp_path: Path) -> None:
    """A reply to an earlier call that used the same queue does not count for the next call."""
    network = network_of("a", b=Part(after=TIMEOUT + 1))
    fleet = network.fleet(tmp_path)
    first = fleet.call("shell", "run", {"command": "true"}, timeout=TIMEOUT)
    assert first.wait().silent == ["b"]
    network.parts["b"] = Part(after=3.0)
    second = fleet.call("shell", "run", {"command": "true"}, timeout=TIMEOUT)
    assert {sent.request.reply_to for sent in network.sent} == {network.sent[0].request.reply_to}
    assert {reply.request for reply in second} == {second.request_id} != {first.request_id}
    assert len(network.received) == 4  # including the late reply
    assert sorted(second.outcomes.ok) == ["a", "b"]


def test_duplicate_replies_are_ignored(tmp_path: Path) -> None:
    """A node that replies five times has replied once, and the other nodes are still waited for."""
    network = network_of("", a=Part(after=0.1, copies=5), b=Part(after=7.0))
    call = call_shell(network, tmp_path)
    assert [reply.sender for reply in call] == ["a", "b"]
    assert (call.outcomes.counts()["ok"], call.outcomes.answered) == (2, 2)


def test_an_unexpected_reply_does_not_end_a_call(tmp_path: Path) -> None:
    """The reply of a registered node counts, and the expected nodes are still waited for."""
    network = network_of("a", b=Part(after=3.0), other=Part())
    call = call_shell(network, tmp_path, targets=Targets(nodes=["a", "b"]))
    network.arrive(answer(network.sent[0].request, "other", 1))
    outcomes = call.wait()
    assert (outcomes.unexpected, sorted(outcomes.ok), outcomes.exit_code()) == (["other"], ["a", "b"], 2)


@pytest.mark.parametrize("registered", [["a"], []])
def test_replies_of_invented_nodes_are_rejected(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, registered: list[str]
) -> None:
    """A node that was asked by name cannot answer as others, with or without a registry."""
    network = network_of("", a=Part(after=5.0))
    call = network.fleet(tmp_path, registered=registered).call("rpcutil", "ping", targets=Targets(nodes=["a"]))
    for number in range(3000):
        network.arrive(replace(answer(network.sent[0].request, f"n{number}"), data={"x": "y" * 1000}))
    outcomes = call.wait()
    assert (outcomes.unexpected, outcomes.ok, list(outcomes.replies)) == ([], ["a"], ["a"])
    assert len(outcomes.rejected) == MAX_REJECTED
    assert len([record for record in caplog.records if record.message == "reply.rejected"]) == 20


def test_unexpected_replies_are_bounded_in_size(tmp_path: Path) -> None:
    """Registered nodes that were not asked can take 16 MiB of the caller's memory together."""
    strangers = [f"n{number}" for number in range(30)]
    network = network_of("", a=Part(after=5.0))
    fleet = network.fleet(tmp_path, registered=["a", *strangers])
    call = fleet.call("rpcutil", "ping", targets=Targets(nodes=["a"]))
    for name in strangers:
        network.arrive(replace(answer(network.sent[0].request, name), data={"x": "y" * 1024 * 1024}))
    outcomes = call.wait()
    assert (len(outcomes.unexpected), len(outcomes.rejected), outcomes.ok[-1]) == (15, 15, "a")


def test_a_wave_whose_names_do_not_fit_is_sent_in_parts(tmp_path: Path) -> None:
    """Every node gets one request that names it, and all parts count as one call."""
    import secrets

    names_ = [secrets.token_hex(120) for _ in range(1700)]
    network = Scripted(dict.fromkeys(names_, Part()))
    call = network.fleet(tmp_path).call("rpcutil", "ping", timeout=TIMEOUT)
    assert network.broadcasts > 1
    assert len(call.request_ids) == network.broadcasts
    assert sorted(sent.node for sent in network.sent) == sorted(names_)
    assert call.wait().counts()["ok"] == len(names_)


def test_inputs_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    """Splitting the names does not help when the inputs alone are too large, and nothing is sent."""
    import secrets

    network = Scripted({f"n{number}": Part() for number in range(1000)})
    fleet = network.fleet(tmp_path)
    with pytest.raises(MessageTooLarge):
        fleet.call("shell", "run", {"command": secrets.token_hex(300_000)}, confirm=lambda _: True)
    assert network.sent == []


def test_nodes_that_read_the_request_and_do_not_answer_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Within the wait, once; a node that has not read its queue is another case."""
    network = network_of("", a=SILENT, b=SILENT)
    network.fleet(tmp_path).call("rpcutil", "ping", timeout=15.0).wait()
    [record] = [record for record in caplog.records if record.message == "reply.none"]
    assert vars(record)["error"] == (
        "2 nodes received the request but have not answered yet: they may still be working, or they may not trust this "
        "key (see 'crpc keys' and 'crpc doctor')"
    )
    caplog.clear()
    unread = network_of("", a=Part(after=None, wakes=900.0))
    unread.fleet(tmp_path / "b").call("rpcutil", "ping", timeout=15.0).wait()
    assert "reply.none" not in caplog.text


def test_silent_nodes_are_explained_by_their_queues(tmp_path: Path) -> None:
    """A queue that was read means that the request arrived; an unread one that the node does not work."""
    network = network_of("", read=SILENT, unread=Part(after=None, wakes=900.0))
    fleet = network.fleet(tmp_path)
    fleet.call("rpcutil", "ping", timeout=15.0).wait()
    assert fleet.why_silent(["read", "unread", "never"]) == {
        "never": "not in the registry",
        "read": "received the request but did not answer: "
        "it may not trust this key (see 'crpc keys' and 'crpc doctor')",
        "unread": "has not read its queue (1 unread message): it may have stopped or be cut off",
    }


def test_an_interrupted_call_knows_what_still_runs(tmp_path: Path) -> None:
    """The nodes that have not answered, and the longest time that their work can take."""
    network = network_of("a", b=SILENT)
    call = call_shell(network, tmp_path)
    for reply in call:
        assert reply.sender == "a"
        call.stop("interrupted")
        break
    call.close()
    running, seconds = call.still_running()
    assert (running, 0 < seconds <= TIMEOUT) == (["b"], True)


def test_a_reply_to_the_request_of_another_node_is_rejected(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In a rollout, a reply to a request that was not sent to its node is rejected, and the rollout continues."""
    network = network_of("ab")
    call = call_shell(network, tmp_path, pace=Pace(1))
    network.arrive(answer(network.sent[0].request, "b", 1), 0.5)
    assert [(reply.sender, reply.ok) for reply in call] == [("a", True), ("b", True)]
    assert "reply.rejected" in caplog.text


@pytest.mark.parametrize("body", ["", "{}", "hello"])
def test_an_invalid_message_in_a_reply_queue_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    """A message that is not a reply neither ends a call nor counts as a reply."""
    network = network_of("a")
    call = call_shell(network, tmp_path)
    delivery, first = network._delivery, [body]  # noqa: SLF001 - replaces a method of the test's own stand-in

    def spoilt(reply: Reply) -> Delivery:
        return replace(delivery(reply), body=first.pop()) if first else delivery(reply)

    monkeypatch.setattr(network, "_delivery", spoilt)
    network.arrive(answer(network.sent[0].request, "a"))
    assert call.wait().ok == ["a"]


# -- the end of a call


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


# -- rollouts


def test_a_limit_reduces_the_expected_nodes(tmp_path: Path) -> None:
    """A limit with a seed selects the same nodes each time, and the other nodes are not even skipped."""
    reached = []
    for attempt in "xy":
        network = network_of("abcdefghij")
        outcomes = call_shell(network, tmp_path / attempt, targets=Targets(limit="30%", limit_seed=5)).wait()
        reached.append([sent.node for sent in network.sent])
        assert sorted(outcomes.expected) == sorted(reached[-1]) == sorted(outcomes.ok)
    assert len(reached[0]) == 3
    assert sorted(reached[0]) == sorted(reached[1])


def test_every_wave_is_a_separate_request(tmp_path: Path) -> None:
    """Each wave has its own ID, time and targets, and a TTL of 6 s."""
    network = network_of("abcde")
    call = call_shell(network, tmp_path, pace=Pace(batch=2, batch_sleep=30))
    call.wait()
    assert [sent.request.targets for sent in network.sent[::2]] == [("a", "b"), ("c", "d"), ("e",)]
    assert [sent.at for sent in network.sent] == [0, 0, 31, 31, 62]
    assert call.request_ids == list(dict.fromkeys(sent.request.id for sent in network.sent))
    assert (len(call.request_ids), call.request_ids[0]) == (3, call.request_id)
    assert len({sent.request.time for sent in network.sent}) == 3
    assert {sent.request.ttl for sent in network.sent} == {6.0}
    assert {sent.request.timeout for sent in network.sent} == {9.0}


def test_a_given_ttl_is_used_in_a_rollout(tmp_path: Path) -> None:
    """The TTL argument takes precedence in a rollout; without a pace, the configured TTL is used."""
    network = network_of("a")
    call_shell(network, tmp_path, pace=Pace(1), ttl=45.0).wait()
    call_shell(network, tmp_path).wait()
    assert [sent.request.ttl for sent in network.sent] == [45.0, 60.0]


def test_an_unresponsive_node_makes_room_in_a_rollout(tmp_path: Path) -> None:
    """The next node is sent to after 7 s, and the request of the unresponsive node has expired when it wakes up."""
    network = network_of("ac", b=Part(after=30.0, wakes=8.0))
    outcomes = call_shell(network, tmp_path, pace=Pace(1), timeout=60.0).wait()
    assert {sent.node: sent.at for sent in network.sent} == {"a": 0, "b": 1, "c": 8}
    assert [sent.ends - sent.begins for sent in network.sent if sent.node == "b"] == [0]
    assert (outcomes.ok, outcomes.failed, network.time) == (["a", "c"], ["b"], 9)


def test_max_fail_stops_a_rollout(tmp_path: Path) -> None:
    """After max_fail failures the working nodes are waited for, the others are skipped, and the exit code is 4."""
    network = network_of("acdef", b=Part(statuscode=1))
    call = call_shell(network, tmp_path, pace=Pace(concurrency=2, max_fail=1))
    outcomes = call.wait()
    assert outcomes.counts() == {"ok": 1, "failed": 1, "silent": 0, "skipped": 4, "unexpected": 0, "rejected": 0}
    assert (sorted(outcomes.skipped), outcomes.exit_code()) == (["c", "d", "e", "f"], 4)
    assert call.stopped == "1 node failed or silent, max-fail is 1"


def test_a_rollout_that_reached_every_node_was_not_stopped(tmp_path: Path) -> None:
    """When only the last node fails, nothing is skipped, and the exit code is that of a failure."""
    network = network_of("a", b=Part(statuscode=1))
    call = call_shell(network, tmp_path, pace=Pace(concurrency=2, max_fail=1))
    assert (call.wait().exit_code(), call.stopped) == (2, "")


def test_a_stopped_call_is_cut_short(tmp_path: Path) -> None:
    """After `stop`, nodes that have not replied are silent, and the call is marked as cut short."""
    call = call_shell(network_of("a", b=SILENT), tmp_path)
    next(iter(call))
    call.stop("interrupted")
    call.close()
    assert (call.outcomes.silent, call.cut_short, call.stopped) == (["b"], True, "interrupted")
    waited = call_shell(network_of("a", b=SILENT), tmp_path / "other")
    assert (waited.wait().silent, waited.cut_short, waited.stopped) == (["b"], False, "")


PARTS = st.builds(
    Part,
    after=st.none() | st.sampled_from([0.0, 0.5, 1.0, 3.0, 8.9, 9.5, 11.0, 30.0]),
    statuscode=st.sampled_from([0, 0, 0, 1, 5]),
    copies=st.integers(1, 3),
    wakes=st.sampled_from([0.0, 0.0, 0.0, 4.0, 8.0, 900.0]),
    absent=st.sampled_from([False] * 9 + [True]),
)
AMOUNTS = st.builds(Amount, st.integers(1, 5)) | st.builds(Amount, st.integers(1, 100), st.just(True))
PACES = st.builds(
    Pace,
    concurrency=st.none() | st.integers(1, 4),
    batch=st.none() | AMOUNTS,
    max_fail=st.none() | AMOUNTS,
)


@settings(max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(PARTS, min_size=1, max_size=12), pace=PACES, direct_limit=st.sampled_from([2, 50]))
def test_no_schedule_breaks_a_promise(tmp_path: Path, parts: list[Part], pace: Pace, direct_limit: int) -> None:
    """No node works beyond the concurrency limit, and none is reached after too many failures.

    Whatever they do, every expected node ends in exactly one outcome, the right one, and the call ends.
    """
    network = Scripted({f"web{number:02}": part for number, part in enumerate(parts)})
    network.watch = promises(network, pace)
    call = call_shell(
        network, tmp_path, targets=Targets(nodes=network.parts), pace=pace, client={"direct_limit": direct_limit}
    )
    outcomes = call.wait()

    named = [*outcomes.ok, *outcomes.failed, *outcomes.silent, *outcomes.skipped]
    assert sorted(named) == sorted(network.parts)
    assert (outcomes.unexpected, outcomes.rejected) == ([], set())
    heard = {reply.sender: reply.ok for reply in reversed(network.received)}
    assert {name: name in outcomes.ok for name in [*outcomes.ok, *outcomes.failed]} == heard
    reached = [sent.node for sent in network.sent]
    assert len(reached) == len(set(reached))
    assert outcomes.skipped.isdisjoint(reached)
    assert bool(call.stopped) == (outcomes.exit_code() == 4)
    assert bool(outcomes.skipped) == bool(call.stopped)


def promises(network: Scripted, pace: Pace) -> Callable[[Sent], None]:
    """Return a function that checks the limits whenever a request reaches its node."""
    total = len(network.parts)
    bounds = [
        pace.concurrency or total,
        pace.batch.ceil(total) if pace.batch else total,
    ]
    most = pace.max_fail.floor(total) if pace.max_fail else total + 1
    if pace.max_fail and len(bounds) == 2 and pace == Pace(max_fail=pace.max_fail):
        bounds.append(most)

    def watch(_sent: Sent) -> None:
        assert network.working() < min(bounds)
        assert failures(network) < most

    return watch


def failures(network: Scripted) -> int:
    """Return the number of nodes that have failed, or that must have timed out by now."""
    first = {reply.sender: reply for reply in reversed(network.received)}
    silent = {sent.node for sent in network.sent if network.time >= sent.at + TIMEOUT + 5.0} - first.keys()
    return len(silent) + sum(not reply.ok for reply in first.values())


# -- confirmation


def test_a_call_to_the_whole_collective_needs_confirmation(tmp_path: Path) -> None:
    """Without confirmation TooManyTargets is raised and nothing is sent; with it, the call is made."""
    network = network_of("abc")
    asked: list[list[str]] = []

    def refuse(nodes: list[str]) -> bool:
        asked.append(nodes)
        return False

    with pytest.raises(TooManyTargets, match="3 nodes matched: not confirmed: nothing was sent") as caught:
        call_shell(network, tmp_path, confirm=refuse)
    assert (asked, caught.value.nodes, network.sent) == ([["a", "b", "c"]], 3, [])
    assert call_shell(network, tmp_path, confirm=lambda _: True).wait().exit_code() == 0


@pytest.mark.parametrize("targets", [Targets(nodes=["a"]), Targets(limit=2), Targets.select(identities=["/./"])])
def test_restricted_targets_need_no_confirmation(tmp_path: Path, targets: Targets) -> None:
    """Targets with names, a limit or a filter need no confirmation, nor does an idempotent action."""
    network = network_of("abc")
    assert call_shell(network, tmp_path, confirm=lambda _: False, targets=targets).wait().exit_code() == 0
    assert network.fleet(tmp_path).call("rpcutil", "ping", confirm=lambda _: False).wait().exit_code() == 0


def test_max_targets_applies_without_confirmation(tmp_path: Path) -> None:
    """Without `confirm`, more than max_targets nodes are refused, unless limited or the action is idempotent."""
    network = network_of("abc")
    few: dict[str, Any] = {"max_targets": 2}
    enough = {"max_targets": 3}
    with pytest.raises(TooManyTargets, match="3 nodes matched: max_targets allows 2: narrow the targets, or raise"):
        call_shell(network, tmp_path, client=few, targets=Targets.select(identities=["/./"]))
    assert network.sent == []
    assert call_shell(network, tmp_path, client=enough).wait().exit_code() == 0
    assert call_shell(network, tmp_path, client=few, targets=Targets(limit=2)).wait().exit_code() == 0
    assert network.fleet(tmp_path, **few).call("rpcutil", "ping").wait().exit_code() == 0


def test_more_than_max_targets_need_confirmation(tmp_path: Path) -> None:
    """More than max_targets nodes need confirmation even with a filter."""
    network = network_of("abc")
    options: dict[str, Any] = {"client": {"max_targets": 2}, "targets": Targets.select(identities=["/./"])}
    with pytest.raises(TooManyTargets, match="not confirmed"):
        call_shell(network, tmp_path, confirm=lambda _: False, **options)
    assert call_shell(network, tmp_path, confirm=lambda _: True, **options).wait().exit_code() == 0
