"""A node with duplicates, with too many requests, and with requests that an earlier daemon has left."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support.journal_entries import make_entry
from support.node_server import REPLIES, audit, body, call_node, replies, request, send, settled

from collective import names
from collective.errors import AccessDenied, Unreachable
from collective.node.requests.pipeline import MOST_RESUMED
from collective.node.requests.refusal_budget import REFUSALS
from collective.node.server import Server
from collective.node.storage.journal import TAKEN, Journal, JournalLimits
from collective.policy import Decision, Policy, Question, Rule
from collective.testing import COLLECTIVE, Network, make_node, memory_fleet, node_parts

OTHER_REPLIES = names.reply_queue(COLLECTIVE, "other-0")


@pytest.fixture
def network(tmp_path: Path, plugins: Path) -> Iterator[Network]:
    """One node that runs two actions at the same time, one per agent, and lets four more wait."""
    with memory_fleet(tmp_path, {"web1": {}}, code=[plugins], ddls=[plugins], max_actions=2, max_queued=4) as network:
        network.transport.open_replies(REPLIES)
        network.transport.open_replies(OTHER_REPLIES)
        yield network


@contextmanager
def next_daemon(network: Network, folder: Path, code: Path) -> Iterator[Server]:
    """Run the daemon that takes the place of the first one, which has stopped."""
    node = make_node(folder, "web1", network.transport, {}, node_parts(folder, [code], [code]))
    node.open()
    yield node
    node.stop(5.0)


def test_another_request_with_the_same_id_is_refused(network: Network, tmp_path: Path) -> None:
    """Another reply queue, other inputs or another caller make another request: audited, and not answered."""
    original = request("odd", "sleep", data={"seconds": 0})
    first = call_node(network, original)
    others = ({"reply_to": OTHER_REPLIES}, {"data": {"seconds": 0.1}}, {"caller": "bob"}, {"agent": "rpcutil"})
    send(network, *(replace(original, **changes) for changes in others))
    assert settled(network, "reused", 4) == 4
    assert replies(network, 1, wait=0.3) == []
    assert network.transport.unread(OTHER_REPLIES) == 0
    refused = [line for line in audit(tmp_path) if line.get("verdict") == "refused"]
    assert len({line["digest"] for line in refused} - {first.digest}) == 4
    assert call_node(network, original) == replace(first, replayed=True)


def test_a_request_signed_before_the_journal_began_is_refused(network: Network) -> None:
    """A captured request that is sent again may have run before the journal was lost."""
    reply = call_node(network, request(time=time.time() - 200))
    assert (reply.statuscode, reply.reason) == (5, "expired")


def test_replies_that_can_be_made_again_take_no_room(network: Network) -> None:
    """A caller can ask for the inventory as often as it likes, and a duplicate of that is not answered again."""
    journal = network.nodes["web1"].pipeline.journal
    original = [request("rpcutil", "inventory") for _ in range(200)]
    send(network, *original)
    assert len(replies(network, 200, wait=60)) == 200
    assert settled(network, "replies", 200) == 200
    found = [journal.find(one.id) for one in original]
    assert {(entry.reply, entry.body) for entry in found if entry} == {("", "")}
    send(network, original[0])
    assert settled(network, "duplicates", 1) == 1
    assert replies(network, wait=0.3) == []


def test_a_denied_caller_leaves_a_bounded_trace(tmp_path: Path, plugins: Path) -> None:
    """A denied caller leaves nothing in the journal and a limited number of audit lines; others are not affected."""
    policy = Policy([Rule("alice", callers=("alice@example.com",))])
    with memory_fleet(tmp_path, {"web1": {}}, code=[plugins], ddls=[plugins], policy=policy) as network:
        network.transport.open_replies(REPLIES)
        send(network, *(request("shell", "run", caller="bob", data={"command": "id"}) for _ in range(REFUSALS + 20)))
        assert settled(network, "denied", REFUSALS + 20) == REFUSALS + 20
        assert len(replies(network, REFUSALS)) == REFUSALS
        assert replies(network, wait=0.3) == []
        assert network.nodes["web1"].pipeline.journal.size()[0] == 0
        assert call_node(network, request()).statuscode == 0
    events = Counter(line.get("verdict", line["event"]) for line in audit(tmp_path))
    assert events == {"denied": REFUSALS, "outcome": REFUSALS + 1, "limited": 1, "allowed": 1}


def test_a_repeated_denied_request_is_answered_ten_times(tmp_path: Path) -> None:
    """A denied request has no entry in the journal, and is still recognized when it comes again."""
    with memory_fleet(tmp_path, {"web1": {}}, policy=Policy([])) as network:
        network.transport.open_replies(REPLIES)
        send(network, *[request()] * 15)
        assert settled(network, "denied", 15) == 15
        assert len(replies(network, 15, wait=2)) == 10


def test_a_request_that_ends_daemons_is_given_up(tmp_path: Path) -> None:
    """The next daemons resume it a few times, then refuse it."""
    with memory_fleet(tmp_path, {}) as network:
        network.transport.open_replies(REPLIES)
        journal = Journal(None, time.time)
        journal.mark_beginning()
        original, now = request(), time.time()
        journal.begin(make_entry(original.id, now, sent=now, reply_to=REPLIES, body=body(original)), now)
        for _ in range(MOST_RESUMED):
            journal.resume(original.id)
        make_node(tmp_path, "web1", network.transport, {}, {**node_parts(tmp_path), "journal": journal}).open()
        reply = replies(network)[0]
        assert (reply.reason, reply.statusmsg) == ("interrupted", "the node stopped 4 times while it had this request")
        journal.close()


def test_a_slow_agent_does_not_starve_another(network: Network) -> None:
    """A slow agent uses up only its share of the places: then its requests are refused, and those of others run."""
    jobs = [request("shell", "run", data={"command": "sleep 60"}) for _ in range(5)]
    send(network, *jobs)
    busy = replies(network)[0]
    assert (busy.reason, busy.statusmsg) == (
        "busy",
        "this node is busy: 3 requests are waiting, 3 of them for 'shell' (try again later)",
    )
    assert call_node(network, request("odd", "sleep", data={"seconds": 0})).statuscode == 0
    network.nodes["web1"].stop(0.0)


def test_requests_are_received_no_faster_than_they_are_answered(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests that cannot be answered yet stay in the node's queue, not in its memory; in the end all are answered."""
    flood = [request() for _ in range(300)]
    may_send = threading.Event()
    send_for_real = network.transport.send

    def send_slowly(queue: str, text: str) -> None:
        assert queue != REPLIES or may_send.wait(30)
        send_for_real(queue, text)

    monkeypatch.setattr(network.transport, "send", send_slowly)
    send(network, *flood)
    node = network.nodes["web1"]
    assert settled(network, "passed", 100) == 100
    assert node.pools.in_progress <= 101
    assert network.transport.unread(node.queue) >= 150
    may_send.set()
    answered = {reply.request for reply in replies(network, 300, wait=30.0)}
    assert answered == {original.id for original in flood}


def test_a_reply_waits_for_a_new_queue(tmp_path: Path) -> None:
    """SQS may not know a new queue for a second, so the reply to a caller's first request is sent again."""
    with memory_fleet(tmp_path, {"web1": {}}) as network:
        send(network, request())
        assert settled(network, "passed", 1) == 1
        assert settled(network, "deferred", 1) == 1
        network.transport.open_replies(REPLIES)
        assert replies(network)[0].statuscode == 0


class BrokenPolicy:
    """A policy with a bug."""

    limits_hours = False

    def decide(self, _question: Question) -> Decision:
        """Raise what no policy should raise."""
        raise ValueError("what")


def test_an_internal_error_is_answered_and_does_not_end_the_daemon(tmp_path: Path) -> None:
    """An internal error ends neither this daemon nor later ones, which find the request in the journal."""
    with memory_fleet(tmp_path, {}) as network:
        network.transport.open_replies(REPLIES)
        journal = Journal(None, time.time)
        journal.mark_beginning()
        original, now = request(), time.time()
        journal.begin(make_entry(original.id, now, sent=now, reply_to=REPLIES, body=body(original)), now)
        parts = {**node_parts(tmp_path), "policy": BrokenPolicy(), "journal": journal}
        make_node(tmp_path, "web1", network.transport, {}, parts).open()
        reply = replies(network)[0]
        assert (reply.statuscode, reply.reason) == (5, "crashed")
        assert "internal error" in reply.statusmsg
        assert journal.left(TAKEN) == []
        journal.close()


def test_a_full_journal_refuses_requests_as_busy(tmp_path: Path) -> None:
    """A request that could not be remembered does not run."""
    journal = Journal(None, time.time, limits=JournalLimits(entries=1))
    with memory_fleet(tmp_path, {"web1": {}}, journal=journal) as network:
        network.transport.open_replies(REPLIES)
        original = request("shell", "run", data={"command": "true"})
        assert call_node(network, original).statuscode == 0
        reply = call_node(network, request("shell", "run", data={"command": f"touch {tmp_path}/ran"}))
        assert (reply.reason, reply.statusmsg) == ("busy", "the journal is full: 1 request (try again later)")
        assert not (tmp_path / "ran").exists()
        assert call_node(network, original).replayed


def test_no_action_runs_while_the_journal_cannot_be_written(tmp_path: Path) -> None:
    """A closed journal behaves like a broken disk: nothing runs, and every reply says why."""
    journal = Journal(tmp_path / "broken.sqlite", time.time)
    with memory_fleet(tmp_path, {"web1": {}}, journal=journal) as network:
        network.transport.open_replies(REPLIES)
        assert call_node(network, request()).statuscode == 0
        journal.close()
        reply = call_node(network, request())
        assert (reply.statuscode, reply.reason) == (5, "busy")
        assert "broken.sqlite: cannot be read or written: the database is closed (try again later)" in reply.statusmsg


def test_a_request_that_waits_at_a_stop_is_run_by_the_next_daemon(
    network: Network, tmp_path: Path, plugins: Path
) -> None:
    """A running action is interrupted and answered; a waiting request is not lost."""
    long, short = (request("shell", "run", data={"command": word}) for word in ("sleep 60", f"echo x>>{tmp_path}/ran"))
    send(network, long)
    assert settled(network, "passed", 1) == 1
    send(network, short)
    assert settled(network, "passed", 2) == 2
    network.nodes["web1"].stop(0.2)
    interrupted = replies(network)[0]
    assert (interrupted.request, interrupted.reason) == (long.id, "interrupted")
    assert not (tmp_path / "ran").exists()
    with next_daemon(network, tmp_path, plugins):
        reply = replies(network)[0]
        assert (reply.request, reply.statuscode, reply.replayed) == (short.id, 0, False)
    assert (tmp_path / "ran").read_text() == "x\n"
    events = [(line["event"], line["request"]) for line in audit(tmp_path)]
    assert events == [(event, original.id) for original in (long, short) for event in ("decision", "outcome")]


def test_a_waiting_request_can_expire_before_the_next_daemon(
    network: Network,
    tmp_path: Path,
    plugins: Path,
) -> None:
    """A request received in time expires if no daemon starts it in time."""
    send(network, request("shell", "run", data={"command": "sleep 60"}))
    assert settled(network, "passed", 1) == 1
    send(network, request("shell", "run", data={"command": "true"}, ttl=0.5))
    assert settled(network, "passed", 2) == 2
    network.nodes["web1"].stop(0.6)
    assert replies(network)[0].reason == "interrupted"
    with next_daemon(network, tmp_path, plugins):
        assert replies(network)[0].reason == "expired"


def test_an_unsent_reply_is_sent_by_the_next_daemon(
    network: Network,
    tmp_path: Path,
    plugins: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A reply outlives the daemon that could not send it."""
    send_for_real = network.transport.send

    def away(queue: str, text: str) -> None:
        if queue == REPLIES:
            raise Unreachable("away")
        send_for_real(queue, text)

    monkeypatch.setattr(network.transport, "send", away)
    original = request()
    send(network, original)
    assert settled(network, "passed", 1) == 1
    network.nodes["web1"].stop(5.0)
    monkeypatch.undo()
    with next_daemon(network, tmp_path, plugins):
        reply = replies(network)[0]
        assert (reply.request, reply.statuscode, reply.replayed) == (original.id, 0, False)


def test_a_reply_that_cannot_be_sent_does_not_delay_others(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """One reply queue is not writable: other callers are answered, and its replies are dropped at their timeout."""
    send_for_real = network.transport.send

    def denied(queue: str, text: str) -> None:
        if queue == OTHER_REPLIES:
            raise AccessDenied("no")
        send_for_real(queue, text)

    monkeypatch.setattr(network.transport, "send", denied)
    send(network, *(request(reply_to=OTHER_REPLIES, timeout=1.0) for _ in range(5)))
    assert call_node(network, request()).statuscode == 0
    assert settled(network, "lost", 5) == 5


def test_a_resumed_request_is_verified_again(
    network: Network,
    tmp_path: Path,
    plugins: Path,
) -> None:
    """A request that was valid when it arrived may be invalid now: keys and versions change."""
    node = network.nodes["web1"]
    node.stop(5.0)
    journal = Journal(tmp_path / "web1.sqlite", network.transport.now)
    now = network.transport.now()
    for number, text in enumerate((body(request())[:50], body(request(collective="staging")))):
        journal.begin(make_entry(str(number), now, reply_to=REPLIES, body=text), now)
    journal.close()
    with next_daemon(network, tmp_path, plugins) as later:
        assert later.statistics.requests["unvalidated"] == 2
        assert replies(network, wait=0.3) == []
