"""Requests on their way through a node: deliveries go in, replies, counters and audit lines come out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.node_server import (
    CODE,
    DDL,
    REPLIES,
    audit,
    body,
    call_node,
    digest_of,
    replies,
    request,
    send,
    settled,
)

from collective import messages, names
from collective.errors import Unreachable
from collective.filters import parse
from collective.node.requests.duplicate_counter import ANSWERED, DuplicateCounter
from collective.node.server import Server
from collective.node.storage.audit_log import AuditLog
from collective.policy import Policy, Rule
from collective.testing import COLLECTIVE, Network, memory_fleet
from collective.transport import Delivery


def test_a_request_is_answered(network: Network, tmp_path: Path) -> None:
    """The reply names request, sender and action; the audit log has the decision and the outcome."""
    original = request()
    reply = call_node(network, original)
    assert (reply.request, reply.sender, reply.agent, reply.action) == (original.id, "web1", "rpcutil", "ping")
    assert (reply.statuscode, reply.statusmsg, reply.reason, reply.replayed) == (0, "OK", None, False)
    decision, outcome = audit(tmp_path)
    assert (decision["event"], decision["verdict"], decision["caller"]) == ("decision", "allowed", "alice@example.com")
    assert decision["rule"] == "all callers may do everything"
    assert (outcome["event"], outcome["statuscode"]) == ("outcome", 0)


INVALID: dict[str, Callable[[], str]] = {
    "empty": lambda: " ",
    "no JSON": lambda: "hello",
    "another format": lambda: '{"Records": []}',
    "a list": lambda: "[]",
    "another version": lambda: body(request()).replace('"collective":2', '"collective":3'),
    "unknown encoding": lambda: body(request()).replace('"encoding":"json"', '"encoding":"yaml"'),
    "broken payload": lambda: body(request()).replace('"payload":"{', '"payload":"['),
    "a reply": lambda: body(request()).replace('\\"type\\":\\"request\\"', '\\"type\\":\\"reply\\"'),
    "no id": lambda: body(request()).replace('\\"id\\"', '\\"di\\"'),
    "another collective": lambda: body(request(collective="staging")),
    "a reply queue elsewhere": lambda: body(request(reply_to="staging_reply_x-0")),
    "a node's queue to reply to": lambda: body(request(reply_to=names.node_queue(COLLECTIVE, "web1"))),
    "too long a ttl": lambda: body(request(ttl=60)).replace('\\"ttl\\":60', '\\"ttl\\":100000'),
    "an unknown critical member": lambda: body(request(critical=("quorum",))),
    "a bomb": lambda: _bomb(),
}


def _bomb() -> str:
    import base64
    import zlib

    packed = base64.b64encode(zlib.compress(b" " * (64 * 1024 * 1024))).decode()
    return json.dumps({"collective": 2, "encoding": "json+zlib+base64", "payload": packed})


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_message_is_dropped_and_the_next_request_is_served(network: Network, name: str) -> None:
    """An invalid message is counted as unvalidated, nothing runs, and it is not answered."""
    original = request()
    send(network, INVALID[name](), original)
    answers = replies(network, 1)
    assert [reply.request for reply in answers] == [original.id]
    assert network.nodes["web1"].statistics.requests["unvalidated"] == 1


def test_a_duplicate_gets_the_first_reply_again(network: Network, tmp_path: Path) -> None:
    """The action runs once; the second delivery is answered with the stored reply, marked as replayed."""
    original = request("shell", "run", data={"command": f"echo x >> {tmp_path}/ran"})
    first = call_node(network, original)
    second = call_node(network, original)
    assert (tmp_path / "ran").read_text() == "x\n"
    assert (first.replayed, second.replayed) == (False, True)
    assert second == replace(first, replayed=True)
    assert settled(network, "duplicates", 1) == 1


def test_a_duplicate_of_a_running_request_is_answered_once(network: Network) -> None:
    """Two deliveries of a running request lead to one run and one reply."""
    original = request("odd", "sleep", data={"seconds": 0.3})
    send(network, original, original)
    assert len(replies(network, 2, wait=1.5)) == 1
    assert network.nodes["web1"].statistics.requests["duplicates"] == 1


def test_a_request_for_other_nodes_is_not_answered(network: Network) -> None:
    """Other targets, no targets, or a filter that does not match: counted, but neither answered nor audited."""
    send(network, request(targets=("db1",)), request(targets=()))
    send(network, request(targets=None, filter=parse(with_fact=["role=db"]).to_data()))
    assert settled(network, "elsewhere", 2) == 2
    assert settled(network, "filtered", 1) == 1
    assert replies(network, 1, wait=0.3) == []


def test_a_named_node_answers_that_the_filter_does_not_match(network: Network) -> None:
    """A node that is named in `targets` always answers."""
    reply = call_node(network, request(filter=parse(with_fact=["role=db"]).to_data()))
    assert (reply.statuscode, reply.reason) == (5, "filtered")


def test_an_invalid_filter_is_refused(network: Network) -> None:
    """A filter that the node cannot parse does not match by accident."""
    reply = call_node(network, request(filter={"facts": [{"fact": "role"}]}))
    assert (reply.statuscode, reply.reason) == (5, "not_evaluated")
    assert "invalid filter" in reply.statusmsg


@pytest.mark.parametrize(
    ("age", "skew", "message"),
    [(61.0, 0.0, "valid for 60 s"), (0.0, 400.0, r"clock is \+400 s off"), (0.0, -400.0, "clock is -400 s off")],
)
def test_an_old_request_or_a_wrong_clock_is_refused(network: Network, age: float, skew: float, message: str) -> None:
    """Age and skew are measured with the server's timestamps."""
    node = network.nodes["web1"]
    now = network.transport.now()
    original = request(time=now + skew)
    node.pipeline.handle(Delivery(body(original), sent=now, received=now + age, receipt=""))
    reply = replies(network)[0]
    assert (reply.statuscode, reply.reason) == (5, "expired")
    assert __import__("re").search(message, reply.statusmsg)


def test_an_expired_broadcast_is_audited_and_not_answered(network: Network, tmp_path: Path) -> None:
    """An expired broadcast for this node is in its audit log, and is not answered."""
    now = network.transport.now()
    original = request(targets=None)
    network.nodes["web1"].pipeline.handle(Delivery(body(original), sent=now, received=now + 61, receipt=""))
    assert replies(network, wait=0.1) == []
    assert [(line["event"], line["verdict"]) for line in audit(tmp_path)] == [("decision", "refused")]


def test_a_request_as_old_as_its_ttl_is_served(network: Network) -> None:
    """Only a request that is older than its TTL has expired."""
    now = network.transport.now()
    network.nodes["web1"].pipeline.handle(Delivery(body(request(ttl=60)), sent=now, received=now + 60, receipt=""))
    assert replies(network)[0].statuscode == 0


def test_a_request_from_before_the_journal_is_refused(network: Network) -> None:
    """A request sent before the journal began is refused, because an earlier daemon may have run it."""
    now = network.transport.now()
    original = request("shell", "run", data={"command": "true"}, time=now - 30)
    network.nodes["web1"].pipeline.handle(Delivery(body(original), sent=now - 30, received=now, receipt=""))
    reply = replies(network)[0]
    assert (reply.statuscode, reply.reason) == (5, "expired")
    assert "before this node's journal began" in reply.statusmsg


@pytest.mark.parametrize(
    ("agent", "action", "data", "statuscode", "message"),
    [
        ("nosuch", "ping", {}, 2, "this node has no agent 'nosuch'"),
        ("rpcutil", "nosuch", {}, 2, "rpcutil: unknown action 'nosuch'"),
        ("rpcutil", "get_fact", {}, 3, "input 'fact' is missing"),
        ("rpcutil", "get_fact", {"fact": 7}, 4, "input 'fact'"),
        ("rpcutil", "ping", {"extra": 1}, 4, "unknown input 'extra'"),
    ],
)
def test_the_node_checks_inputs_too(
    network: Network, tmp_path: Path, agent: str, action: str, data: dict[str, Any], statuscode: int, message: str
) -> None:
    """A caller that has not checked its inputs gets the usual status codes, and the audit log has both lines."""
    reply = call_node(network, request(agent, action, data=data))
    assert reply.statuscode == statuscode
    assert message in reply.statusmsg
    assert [line["event"] for line in audit(tmp_path)] == ["decision", "outcome"]
    assert audit(tmp_path)[0]["verdict"] == "invalid"


def test_an_output_that_breaks_the_ddl_is_named(network: Network) -> None:
    """The node checks what its own plugins return."""
    reply = call_node(network, request("odd", "lie"))
    assert (reply.statuscode, reply.reason) == (5, "invalid_output")
    assert "odd lie: does not match its DDL: output 'number'" in reply.statusmsg


def test_outputs_that_the_ddl_does_not_have_are_logged(network: Network, caplog: pytest.LogCaptureFixture) -> None:
    """The reply contains them, and the log names them once a minute: a misspelt output must not go unnoticed."""
    for _ in range(2):
        assert call_node(network, request("odd", "extra")).data == {"number": 7, "nubmer": 8}
    found = [vars(record) for record in caplog.records if record.getMessage() == "action.undeclared_outputs"]
    assert [(one["agent"], one["action"], one["outputs"]) for one in found] == [("odd", "extra", ["'nubmer'"])]


def test_the_callers_timeout_ends_the_action(network: Network) -> None:
    """An action does not run longer than its caller waits, even if its own timeout is longer."""
    began = time.monotonic()
    reply = call_node(network, request("odd", "sleep", data={"seconds": 30}, timeout=0.5))
    assert (reply.statuscode, reply.reason) == (5, "timeout")
    assert time.monotonic() - began < 15


def test_a_busy_node_refuses_actions_and_still_answers_ping(network: Network) -> None:
    """Two actions run and two wait; the fifth is refused as busy at once, but rpcutil answers."""
    jobs = [request("odd", "sleep", data={"seconds": 1.0}) for _ in range(5)]
    send(network, *jobs)
    busy = replies(network)[0]
    assert (busy.statuscode, busy.reason) == (5, "busy")
    assert call_node(network, request()).statuscode == 0
    assert sorted(reply.statuscode for reply in replies(network, 4)) == [0, 0, 0, 0]


def test_a_reply_that_is_too_large_is_replaced_by_an_error(network: Network, tmp_path: Path) -> None:
    """The caller learns size and limit instead of waiting for its timeout; the audit log has the same status code."""
    reply = call_node(network, request("odd", "large", data={"size": 2 * 1024 * 1024}))
    assert (reply.statuscode, reply.data) == (5, {})
    assert "more than the limit of 1048576 bytes" in reply.statusmsg
    assert [line.get("statuscode") for line in audit(tmp_path)] == [None, 5]


def test_a_reply_that_cannot_be_encoded_is_replaced_by_an_error(network: Network) -> None:
    """Data that no caller could read becomes an error, not silence."""
    reply = call_node(network, request("odd", "deep"))
    assert (reply.statuscode, reply.reason, reply.data) == (5, "crashed", {})
    assert "nested more than 128 levels deep" in reply.statusmsg


def test_secrets_are_masked_in_the_audit_log(network: Network, tmp_path: Path) -> None:
    """An input that the DDL marks as `writeOnly` is masked; the others are not."""
    reply = call_node(network, request("odd", "login", data={"password": "hunter2", "user": "bob"}))
    assert reply.data == {"token": "hunter2bob"}
    text = (tmp_path / "web1.audit.jsonl").read_text()
    assert "hunter2" not in text
    assert audit(tmp_path)[0]["data"] == {"password": "********", "user": "bob"}


@pytest.mark.parametrize("user", ["crash", "print", "exit"])
def test_secrets_are_masked_in_errors(network: Network, user: str) -> None:
    """The reply does not show a secret that an action raises or prints."""
    reply = call_node(network, request("odd", "login", data={"password": "hunter'2", "user": user}))
    assert (reply.statuscode, reply.reason) == (5, "crashed")
    assert "********" in reply.statusmsg
    assert "hunter" not in reply.statusmsg


def test_a_duplicate_is_audited_with_two_lines(network: Network, tmp_path: Path) -> None:
    """The audit log shows that a request was sent again, and that its first reply was sent again."""
    original = request("odd", "sleep", data={"seconds": 0})
    call_node(network, original)
    call_node(network, original)
    *_, decision, outcome = audit(tmp_path)
    assert (decision["verdict"], decision["request"]) == ("duplicate", original.id)
    assert (outcome["event"], outcome["replayed"]) == ("outcome", True)
    assert [line["event"] for line in audit(tmp_path)] == ["decision", "outcome"] * 2


def test_endless_duplicates_do_not_fill_the_disk(
    network: Network, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Ten duplicates are audited and answered; later ones are only counted and logged once, and others are served."""
    original = request("odd", "sleep", data={"seconds": 0})
    call_node(network, original)
    send(network, *[original] * 15)
    assert len(replies(network, 10)) == 10
    assert settled(network, "duplicates", 15) == 15
    assert [line["event"] for line in audit(tmp_path)].count("outcome") == 11
    assert len(audit(tmp_path)) == 22
    assert [line.message for line in caplog.records].count("request.repeated") == 1
    another = request()
    assert call_node(network, another).request == another.id


def test_duplicates_are_counted_for_a_limited_number_of_requests() -> None:
    """Memory is bounded: the request whose last duplicate is the oldest is forgotten first."""
    repeats = DuplicateCounter(most=2)
    answered = [[repeats.add(name) for name in "ab"] for _ in range(ANSWERED + 1)]
    assert answered == [[True, True]] * ANSWERED + [[False, False]]
    assert [repeats.add(name) for name in "cba"] == [True, False, True]


def test_the_audit_log_names_the_rule_that_denied(tmp_path: Path) -> None:
    """The rule is also named if it denies a data function of the filter and the request itself is allowed."""
    rules = [Rule("no shells", agents=("shell",), allow=False), Rule("ping", agents=("rpcutil",))]
    with memory_fleet(tmp_path, {"web1": {}}, policy=Policy(rules)) as network:
        network.transport.open_replies(REPLIES)
        filtered = parse(select="fact('role').exists=true").to_data()
        reply = call_node(network, request("shell", "run", data={"command": "true"}))
        assert reply.statusmsg == "'alice@example.com' may not call shell run here: rule 'no shells' denies it"
        assert call_node(network, request(filter=filtered)).reason == "denied"
    decisions = [line for line in audit(tmp_path) if line["event"] == "decision"]
    assert [(line["verdict"], line["rule"], line["asks"]) for line in decisions] == [
        ("denied", "no shells", []),
        ("denied", None, [["fact", "role"]]),
    ]


def test_a_policy_sees_the_defaults_that_the_action_will_get(tmp_path: Path) -> None:
    """A rule about an input applies even if the caller does not send that input."""
    empty = {"required": ["stdin"], "properties": {"stdin": {"const": ""}}}
    rules = [Rule("no empty input", inputs=empty, allow=False), Rule("else")]
    with memory_fleet(tmp_path, {"web1": {}}, policy=Policy(rules)) as network:
        network.transport.open_replies(REPLIES)
        assert call_node(network, request("shell", "run", data={"command": "true"})).reason == "denied"
        assert call_node(network, request("shell", "run", data={"command": "true", "stdin": "x"})).statuscode == 0


def test_the_audit_log_has_the_skew_and_the_signed_payload(tmp_path: Path) -> None:
    """The skew is in seconds; the payload is kept as it was sent, unless it contains a secret."""
    kept = tmp_path / "envelopes"
    kept.mkdir()
    plugins_ = tmp_path / "plugins"
    plugins_.mkdir()
    (plugins_ / "odd.py").write_text(CODE)
    (plugins_ / "odd.json").write_text(json.dumps(DDL))
    written = AuditLog(tmp_path / "web1.audit.jsonl", envelopes=kept)
    with memory_fleet(tmp_path, {"web1": {}}, code=[plugins_], ddls=[plugins_], audit=written) as network:
        network.transport.open_replies(REPLIES)
        original = request(time=time.time() + 100)
        call_node(network, original)
        call_node(network, request("odd", "login", data={"password": "hunter2", "user": "bob"}))
        call_node(network, request("nosuch", "login", data={"password": "hunter2"}))
    assert 95 < audit(tmp_path)[0]["skew"] < 105
    assert [path.name for path in kept.iterdir()] == [f"{digest_of(original)}.payload"]
    assert messages.decode_request(json.loads((kept / f"{digest_of(original)}.payload").read_text())) == original


def test_no_action_runs_while_the_audit_log_cannot_be_written(network: Network, tmp_path: Path) -> None:
    """The request is answered with the error, and nothing runs that is not audited."""
    (tmp_path / "web1.audit.jsonl").mkdir()
    reply = call_node(network, request("shell", "run", data={"command": f"touch {tmp_path}/ran"}))
    assert reply.statuscode == 5
    assert "audit" in reply.statusmsg
    assert not (tmp_path / "ran").exists()


def test_the_policy_is_checked_before_the_filter(tmp_path: Path) -> None:
    """A denied caller learns nothing from the filter: the reply is the same whether it matches or not."""
    policy = Policy([Rule("only bob", callers=("bob",))])
    with memory_fleet(tmp_path, {"web1": {}}, policy=policy) as network:
        network.transport.open_replies(REPLIES)
        for filtered in (parse(), parse(with_fact=["role=nothing"])):
            reply = call_node(network, request(filter=filtered.to_data()))
            assert (reply.statuscode, reply.reason) == (1, "denied")
        reply = call_node(network, request(caller="bobby"))
        assert reply.reason == "denied"
        assert call_node(network, request(caller="bob")).statuscode == 0


def test_a_reply_is_sent_again_when_the_transport_is_reachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply that could not be sent is not lost."""
    with memory_fleet(tmp_path, {"web1": {}}) as network:
        network.transport.open_replies(REPLIES)
        send_for_real, failures = network.transport.send, [1]

        def send_badly(queue: str, text: str) -> None:
            if queue == REPLIES and failures:
                failures.pop()
                raise Unreachable("away")
            send_for_real(queue, text)

        monkeypatch.setattr(network.transport, "send", send_badly)
        assert call_node(network, request()).statuscode == 0
        assert failures == []


def test_a_stop_waits_for_actions_and_interrupts_slow_ones(tmp_path: Path, plugins: Path) -> None:
    """A clean stop answers every running request: those that finish in time, and those that are interrupted."""
    with memory_fleet(tmp_path, {"web1": {}}, code=[plugins], ddls=[plugins]) as network:
        network.transport.open_replies(REPLIES)
        node: Server = network.nodes["web1"]
        send(
            network,
            request("odd", "sleep", data={"seconds": 0.4}),
            request("shell", "run", data={"command": "sleep 60"}),
        )
        assert settled(network, "passed", 2) == 2
        node.stop(timeout=1.5)
        answers = {reply.action: reply for reply in replies(network, 2)}
        assert answers["sleep"].statuscode == 0
        assert (answers["run"].statuscode, answers["run"].reason) == (5, "interrupted")
