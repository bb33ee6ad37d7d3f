"""Background jobs on nodes in memory, with real processes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.jobs import ALICE, BOB, OpenJobs, control, job, result, stored
from support.node_server import REPLIES, audit, body, call_node, digest_of, replies, request, send
from support.waiting import wait_until

from collective.audit import records
from collective.clients.commands.audit import shown as show_audit
from collective.fleet.background import Background
from collective.node.jobs.store import CANCELLED, ENDED, SCHEDULED, JobStore
from collective.node.storage.journal import Journal
from collective.policy import Decision, Policy, Question, Rule
from collective.testing import Network, memory_fleet


def test_a_job_is_accepted_and_its_result_is_kept(network: Network, tmp_path: Path) -> None:
    """The reply only says that it was accepted; the audit log has both decisions and both outcomes."""
    sent = job("echo done")
    accepted = call_node(network, sent)
    assert (accepted.statuscode, accepted.reason, accepted.data) == (0, "accepted", {})
    found = result(network, sent.id)
    assert (found["state"], found["caller"], found["action"]) == (ENDED, ALICE, "run")
    assert (found["result"]["statuscode"], found["result"]["data"]["stdout"]) == (0, "done\n")
    lines = [line for line in audit(tmp_path) if line.get("request") == sent.id]
    # The job may start before the outcome of its request is written.
    assert sorted(line["event"] for line in lines) == ["decision", "decision", "outcome", "outcome"]
    assert [line["reason"] for line in lines if line["event"] == "outcome"] == ["accepted", None]
    assert [line["job"] for line in lines if line["event"] == "decision"] == ["request", "start"]
    recorded = [one for one in records.read(tmp_path / "web1.audit.jsonl") if one.decision.get("request") == sent.id]
    shown = [show_audit(one) for one in recorded]
    assert ["as a background job (" in line for line in shown] == [True, False]
    assert ["as a background job that starts (" in line for line in shown] == [False, True]


def test_a_duplicate_of_a_job_does_not_run_twice(network: Network, tmp_path: Path) -> None:
    """A duplicate is answered as the first delivery was, before and after the end, and the action runs once."""
    sent = job(f"echo x >> {tmp_path}/ran")
    send(network, sent, sent)
    assert {reply.reason for reply in replies(network, 2, wait=1.0)} == {"accepted"}
    result(network, sent.id)
    assert (call_node(network, sent).reason, call_node(network, sent).replayed) == ("accepted", True)
    assert (tmp_path / "ran").read_text() == "x\n"


def test_a_job_with_the_id_of_another_is_refused(tmp_path: Path, open_jobs: OpenJobs) -> None:
    """A caller that has taken an id for a job of its own cannot make a node accept the other job and not run it."""
    first, second = job("echo bob", caller=BOB, delay=3600.0), job(f"touch {tmp_path}/ran")
    for journal, sent in (("first", first), ("second", replace(second, id=first.id))):  # the journal has forgotten it
        parts: dict[str, Any] = {"journal": Journal(tmp_path / journal, time.time)}
        parts["jobs"] = open_jobs(tmp_path / "jobs.sqlite")
        with memory_fleet(tmp_path, {"web1": {}}, **parts) as network:
            network.transport.open_replies(REPLIES)
            answer = call_node(network, replace(sent, time=time.time()))
    assert (answer.statuscode, answer.reason, "has the id" in answer.statusmsg) == (1, None, True)


def test_a_failed_job_keeps_its_reason(network: Network) -> None:
    """The result has the status of the action; an unknown job is an error that says so."""
    sent = job("exit 3")
    call_node(network, sent)
    found = result(network, sent.id)["result"]
    assert (found["statuscode"], found["data"]["exitcode"]) == (1, 3)
    unknown = control(network, "result", id="0" * 32)
    assert (unknown.statuscode, unknown.statusmsg.startswith("there is no job '000")) == (1, True)


def test_undeclared_outputs_of_a_job_are_logged(network: Network, caplog: pytest.LogCaptureFixture) -> None:
    """The outputs of a job are checked as those of a request are."""
    sent = replace(job(""), agent="odd", action="extra", data={})
    call_node(network, sent)
    assert result(network, sent.id)["result"]["data"] == {"number": 7, "nubmer": 8}
    assert [vars(one)["outputs"] for one in caplog.records if one.getMessage() == "action.undeclared_outputs"] == [
        ["'nubmer'"]
    ]


def test_a_job_can_be_a_dry_run(network: Network, tmp_path: Path) -> None:
    """The result has what the action would do; outputs that only a real run has may be missing."""
    sent = replace(job(f"touch {tmp_path}/ran"), dry_run=True)
    call_node(network, sent)
    assert result(network, sent.id)["result"]["statuscode"] == 0
    assert not (tmp_path / "ran").exists()


def test_a_job_can_start_later(network: Network) -> None:
    """A delayed job is scheduled until its time, and can be cancelled before it."""
    sent = job("echo late", delay=1.0)
    call_node(network, sent)
    state = control(network, "result", id=sent.id).data
    assert (state["state"], state["start"] - state["created"] > 0.5) == (SCHEDULED, True)
    found = result(network, sent.id)
    assert 0 <= found["began"] - found["start"] < 1.0
    other = job("echo never", delay=3600.0)
    call_node(network, other)
    assert control(network, "cancel", id=other.id).data["became"] == "cancelled"
    assert result(network, other.id)["state"] == CANCELLED


def test_each_node_begins_a_job_at_another_time(tmp_path: Path) -> None:
    """With a splay, nodes begin up to that much later; the time of a node stays the same."""
    with memory_fleet(tmp_path, {"web1": {}, "web2": {}, "web3": {}}) as network:
        background = Background(delay=100.0, splay=1000.0)
        call = network.fleet.call("shell", "run", {"command": "true"}, background=background)
        call.wait()
        found = network.fleet.call("control", "jobs", {"all": True}).wait()
        starts = [entry["start"] for reply in found.replies.values() for entry in reply.data["jobs"]]
    assert len(set(starts)) == 3
    assert all(99.0 < start - call.started < 1102.0 for start in starts)
    assert max(starts) - min(starts) > 1.0


def test_a_job_expires_when_the_node_was_off_for_too_long(tmp_path: Path, open_jobs: OpenJobs) -> None:
    """After a restart, a job within its grace time begins, and one that is later never does."""
    path, late, soon = tmp_path / "jobs.sqlite", job(f"touch {tmp_path}/no"), job(f"touch {tmp_path}/yes")
    database = open_jobs(path)
    for sent, grace in ((late, 5.0), (soon, 3600.0)):
        fields: dict[str, Any] = {
            "run": sent.run,
            "digest": digest_of(sent),
            "start": time.time() - 10,
            "grace": grace,
            "keep": 60.0,
        }
        JobStore(database).add(stored(sent.id, body=body(sent), **fields))
    database.close()
    with memory_fleet(tmp_path, {"web1": {}}, jobs=open_jobs(path)) as network:
        network.transport.open_replies("testing_reply_test-0")
        assert result(network, soon.id)["state"] == ENDED
        found = result(network, late.id)
    assert (found["state"], found["result"]["reason"]) == ("expired", "expired")
    assert found["result"]["statusmsg"] == "the node could not start it within 5 s of its time"
    assert ((tmp_path / "yes").exists(), (tmp_path / "no").exists()) == (True, False)


def test_a_running_job_is_stopped_with_its_processes(network: Network, tmp_path: Path) -> None:
    """The processes of the job are dead when it has ended, and the reason has who stopped it."""
    sent = job(f"sleep 60 & echo $! > {tmp_path}/child; wait")
    call_node(network, sent)
    wait_until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text() != "", 30)
    began = time.monotonic()
    assert control(network, "revoke", id=sent.id).statuscode == 1
    assert control(network, "cancel", id=sent.id).data["became"] == "stopped"
    found = result(network, sent.id)
    assert time.monotonic() - began < 20
    assert (found["state"], found["result"]["statusmsg"]) == (CANCELLED, f"cancelled by '{ALICE}'")
    assert not Path(f"/proc/{(tmp_path / 'child').read_text().strip()}").exists()
    assert control(network, "cancel", id=sent.id).data["became"] == "ended"


def test_a_start_that_is_too_far_away_is_refused(network: Network) -> None:
    """A job that never starts would keep its place among the jobs of the node for ever."""
    sent = job("true")
    far = replace(sent, job={**(sent.job or {}), "start": time.time() + 31 * 86400})
    refused = call_node(network, far)
    assert (refused.statuscode, refused.statusmsg) == (4, "the job would start later than 30 days from now")
    assert control(network, "jobs").data["jobs"] == []


def test_rpcutil_cannot_run_in_the_background(network: Network) -> None:
    """The daemon's own actions answer at once, so that a job of them is refused."""
    sent = request(job=Background().to_data(), critical=("job",))
    refused = call_node(network, sent)
    assert (refused.statuscode, refused.statusmsg) == (4, "actions of 'rpcutil' cannot run in the background")


class Changing:
    """A policy that can be replaced."""

    limits_hours = False

    def __init__(self) -> None:
        self.policy = Policy([Rule("all")])

    def decide(self, question: Question) -> Decision:
        """Ask the current policy."""
        return self.policy.decide(question)


@contextmanager
def one_node(folder: Path, policy: Any) -> Iterator[Network]:
    with memory_fleet(folder, {"web1": {}}, policy=policy) as network:
        network.transport.open_replies("testing_reply_test-0")
        yield network


def test_a_job_is_authorized_again_when_it_starts(tmp_path: Path) -> None:
    """A policy that changes before the time of a job refuses it, and the result names the rule."""
    policy = Changing()
    with one_node(tmp_path, policy) as network:
        sent = job(f"touch {tmp_path}/ran", delay=1.0)
        assert call_node(network, sent).reason == "accepted"
        policy.policy = Policy([Rule("no shell", agents=("shell",), allow=False), Rule("all")])
        found = result(network, sent.id)
    assert (found["state"], found["result"]["reason"]) == ("refused", "denied")
    assert "no shell" in found["result"]["statusmsg"]
    decisions = [line for line in audit(tmp_path) if line.get("request") == sent.id and line["event"] == "decision"]
    assert [(line["job"], line["verdict"]) for line in decisions] == [("request", "allowed"), ("start", "denied")]
    assert not (tmp_path / "ran").exists()
