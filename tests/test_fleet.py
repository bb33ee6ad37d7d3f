"""Calls over a scripted fleet: which nodes are sent to, with which confirmation, and which replies count."""

from __future__ import annotations

import gc
import json
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.scripted_calls import SILENT, TIMEOUT, call_shell, network_of
from support.scripted_fleet import Part, Scripted, answer

from collective.errors import MessageTooLarge, NoNodes, TooManyTargets, Unreachable, UsageError
from collective.fleet.outcomes import MAX_REJECTED
from collective.fleet.pace import Pace
from collective.fleet.targets import Targets
from collective.messages import Reply
from collective.testing import memory_fleet
from collective.transport import Delivery


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

    network = Scripted({f"n{number}": Part() for number in range(12)})
    fleet = network.fleet(tmp_path)
    with pytest.raises(MessageTooLarge):
        fleet.call("shell", "run", {"command": secrets.token_hex(900_000)}, confirm=lambda _: True)
    assert network.sent == []


def test_inputs_that_cannot_be_published_are_sent_to_each_node(tmp_path: Path) -> None:
    """SQS takes larger messages than SNS."""
    import secrets

    network = Scripted({f"n{number}": Part() for number in range(6)})
    fleet = network.fleet(tmp_path, direct_limit=2)
    call = fleet.call("shell", "run", {"command": secrets.token_hex(300_000)}, confirm=lambda _: True)
    assert (network.direct, network.broadcasts) == (6, 0)
    assert call.wait().counts()["ok"] == 6


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

    def spoilt(reply: Reply, sent: float) -> Delivery:
        return replace(delivery(reply, sent), body=first.pop()) if first else delivery(reply, sent)

    monkeypatch.setattr(network, "_delivery", spoilt)
    network.arrive(answer(network.sent[0].request, "a"))
    assert call.wait().ok == ["a"]


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
