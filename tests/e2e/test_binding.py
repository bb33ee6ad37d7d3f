"""Requests and replies are bound to each other, to their caller, and to one collective: attacks with real messages."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import failures
from support.daemons import IDENTITY, Daemon, daemon
from support.signed_node import SignedNode, signed_node
from support.waiting import wait_until

from collective import messages
from collective.fleet.targets import Targets
from collective.messages import MAX_SKEW
from collective.node.trust import existing_node_key
from collective.signing.sshsig import Signature

HERE = Targets(nodes=[IDENTITY])


@pytest.fixture
def node(tmp_path: Path, moto_server: str) -> Iterator[SignedNode]:
    """A node that does not run yet, whose queue exists."""
    (tmp_path / "envelopes").mkdir()
    with signed_node(tmp_path, moto_server, audit_envelopes="envelopes") as scene:
        yield scene


def run(folder: Path, mark: str = "mark") -> dict[str, Any]:
    """Return the inputs of a command that adds a line to a file."""
    return {"command": f"echo x >> {folder}/{mark}"}


def decisions(running: Daemon, verdict: str) -> list[dict[str, Any]]:
    return [line for line in running.audit if line.get("verdict") == verdict]


def test_a_reply_to_another_request_under_the_same_id_is_rejected(
    node: SignedNode, caplog: pytest.LogCaptureFixture
) -> None:
    """Bob takes alice's request out of the queue, and has the node answer a ping in its place, under the same id."""
    call = node.fleet.call("shell", "run", run(node.folder), targets=HERE, timeout=15)
    [taken] = node.receive(node.queue)
    stolen = messages.decode_request(messages.unseal(taken.body).content)
    ping = node.request("rpcutil", "ping", caller="bob", id=stolen.id, reply_to=stolen.reply_to)
    node.send(ping)
    with daemon(node.folder, node.url) as running:
        outcomes = call.wait()
        running.wait_for_decision()
    assert (outcomes.silent, outcomes.rejected, outcomes.ok) == ([IDENTITY], {IDENTITY}, [])
    assert outcomes.exit_code() != 0
    assert not (node.folder / "mark").exists()
    [warning] = [record for record in caplog.records if record.message == "reply.rejected"]
    assert "answers another request that has the same id" in warning.__dict__["error"]


def test_a_request_under_a_known_id_is_refused_and_replaces_no_proof(node: SignedNode) -> None:
    """A request with a known id is audited under its digest and never answered; the first request's proof stays."""
    first = node.request(data=run(node.folder))
    digest = messages.unseal(node.body(first)).digest
    others = [replace(first, data=run(node.folder, "other")), replace(first, caller="bob")]
    with daemon(node.folder, node.url) as running:
        node.send(first)
        assert node.reply().digest == digest
        kept = {path.name: path.read_bytes() for path in (node.folder / "envelopes").iterdir()}
        node.send(*others)
        wait_until(lambda: len(decisions(running, "refused")) == 2, 30)
        node.send(node.body(first))
        assert node.reply().replayed
        assert {line["digest"] for line in decisions(running, "refused")}.isdisjoint({digest})
    now = {path.name: path.read_bytes() for path in (node.folder / "envelopes").iterdir()}
    assert kept.items() <= now.items()
    assert sorted(kept) == [f"{digest}.payload", f"{digest}.sig"]
    assert (node.folder / "mark").read_text() == "x\n"
    assert not (node.folder / "other").exists()
    assert node.receive(node.replies_queue, 1.5) == []


@pytest.mark.parametrize("elsewhere", ["aws:us-east-1:123456789012", "aws:eu-central-1:210987654321"])
def test_a_request_signed_for_another_account_or_region_is_refused(node: SignedNode, elsewhere: str) -> None:
    """A collective of the same name may trust the same keys there."""
    with daemon(node.folder, node.url) as running:
        node.send(node.request(data=run(node.folder), installation=elsewhere))
        running.wait_for("request.dropped")
        [dropped] = running.events("request.dropped")
    here = node.transport.installation
    assert dropped["error"] == f"request: for the installation '{elsewhere}', this one is '{here}'"
    assert not (node.folder / "mark").exists()


def test_an_older_caller_gets_a_signed_reason(node: SignedNode) -> None:
    """A request in an older format does not run; its reply has that format, and the node's signature."""
    with daemon(node.folder, node.url) as running:
        request = node.request(data=run(node.folder))
        node.send(messages.seal(messages.encode(request), lambda _: None, 1))  # unsigned: not answered
        node.send(node.body(request, version=1))
        [delivery] = node.receive(node.replies_queue)
        running.wait_for("caller.older_version")
    envelope = messages.unseal(delivery.body, version=1)
    reply = messages.decode_reply(envelope.content)
    key = existing_node_key(node.folder / "state")
    assert key is not None
    assert envelope.signature is not None
    Signature.read(envelope.signature).verify(envelope.payload, key.public)
    assert (reply.request, reply.statuscode, reply.reason) == (request.id, 5, "version")
    assert "does not support the message format 1 of this caller (upgrade the caller to 0.2.0" in reply.statusmsg
    assert not (node.folder / "mark").exists()


def test_a_withheld_request_expires_by_its_signed_time(node: SignedNode) -> None:
    """Sending it again gives it a new time of sending, but not a new signature."""
    with daemon(node.folder, node.url):
        node.send(node.request(data=run(node.folder), ttl=5, time=time.time() - 6 - MAX_SKEW))
        reply = node.reply()
    assert (reply.reason, (node.folder / "mark").exists()) == ("expired", False)


@pytest.mark.failure(failures.DISK, "the journal is deleted")
def test_a_replay_does_not_run_after_the_journal_was_lost(node: SignedNode) -> None:
    """A node refuses what may be older than its new journal, also if the caller's clock was ahead."""
    body = node.body(node.request(data=run(node.folder), time=time.time() + 200))
    with daemon(node.folder, node.url):
        node.send(body)
        assert node.reply().statuscode == 0
    for path in (node.folder / "state").glob("journal.sqlite*"):
        if path.suffix != ".began":
            path.unlink()
    with daemon(node.folder, node.url):
        node.send(body)
        reply = node.reply()
    assert (reply.statuscode, reply.reason) == (5, "expired")
    assert "a node that has lost its journal waits 5 minutes" in reply.statusmsg
    assert (node.folder / "mark").read_text() == "x\n"


def test_the_audit_log_has_the_digest_of_each_request(node: SignedNode) -> None:
    """Decision and outcome name the request by id and digest, as the reply does."""
    request = node.request(data=run(node.folder))
    with daemon(node.folder, node.url) as running:
        node.send(request)
        digest = node.reply().digest
        wait_until(lambda: len(running.audit) == 2, 30)
        assert [line["digest"] for line in running.audit] == [digest, digest]
    kept = json.loads((node.folder / "envelopes" / f"{digest}.payload").read_text())
    assert kept["id"] == request.id
