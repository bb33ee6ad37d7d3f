"""Background jobs, and the orders that stop work, on nodes in memory with real processes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from support.node_server import audit, body, call_node, digest_of, replies, request, send
from support.waiting import wait_until

from collective import messages
from collective.audit import records
from collective.clients import job_options
from collective.clients.commands.audit import shown as show_audit
from collective.errors import Failed, UsageError
from collective.fleet.background import Background
from collective.messages import Reply, Request
from collective.node.actions.job import ActionResult
from collective.node.jobs import orders
from collective.node.jobs import store as job_store
from collective.node.jobs.orders import Freeze, Frozen, Revocations
from collective.node.jobs.store import CANCELLED, ENDED, RUNNING, SCHEDULED, JobStore, StoredJob, open_database
from collective.policy import Decision, Policy, Question, Rule
from collective.testing import Network, memory_fleet

ALICE, BOB = "alice@example.com", "bob@example.com"


def job(line: str, *, caller: str = ALICE, **times: float) -> Request:
    """Return a request that runs a command line as a job."""
    background = Background(**times).to_data()
    return request(
        "shell", "run", data={"command": line, "timeout": 30}, caller=caller, job=background, critical=("job",)
    )


def control(network: Network, action: str, caller: str = ALICE, **data: Any) -> Reply:
    """Call an action of the agent `control`."""
    return call_node(network, request("control", action, data=data, caller=caller))


def result(network: Network, job_id: str) -> dict[str, Any]:
    """Wait until a job has ended, and return its state and result."""
    found: dict[str, Any] = {}

    def ended() -> bool:
        found.update(control(network, "result", id=job_id, all=True).data)
        return found["state"] not in (SCHEDULED, RUNNING)

    wait_until(ended, 20)
    return found


# -- jobs


def test_a_job_is_accepted_and_its_result_is_kept(network: Network, tmp_path: Path) -> None:
    """The reply only says that it was accepted; the audit log has both decisions and both outcomes."""
    sent = job("echo done")
    accepted = call_node(network, sent)
    assert (accepted.statuscode, accepted.reason, accepted.data) == (0, "accepted", {})
    found = result(network, sent.id)
    assert (found["state"], found["caller"], found["action"]) == (ENDED, ALICE, "run")
    assert (found["result"]["statuscode"], found["result"]["data"]["stdout"]) == (0, "done\n")
    lines = [line for line in audit(tmp_path) if line.get("request") == sent.id]
    assert [line["event"] for line in lines] == ["decision", "outcome", "decision", "outcome"]
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


def test_a_failed_job_keeps_its_reason(network: Network) -> None:
    """The result has the status of the action; an unknown job is an error that says so."""
    sent = job("exit 3")
    call_node(network, sent)
    found = result(network, sent.id)["result"]
    assert (found["statuscode"], found["data"]["exitcode"]) == (1, 3)
    unknown = control(network, "result", id="0" * 32)
    assert (unknown.statuscode, unknown.statusmsg.startswith("there is no job '000")) == (1, True)


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


def test_a_job_expires_when_the_node_was_off_for_too_long(tmp_path: Path) -> None:
    """After a restart, a job within its grace time begins, and one that is later never does."""
    path, late, soon = tmp_path / "jobs.sqlite", job(f"touch {tmp_path}/no"), job(f"touch {tmp_path}/yes")
    database = open_database(path)
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
    with memory_fleet(tmp_path, {"web1": {}}, jobs=open_database(path)) as network:
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
    wait_until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text() != "", 20)
    began = time.monotonic()
    assert control(network, "revoke", id=sent.id).statuscode == 1
    assert control(network, "cancel", id=sent.id).data["became"] == "stopped"
    found = result(network, sent.id)
    assert time.monotonic() - began < 5
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


# -- whose work


def test_a_caller_stops_its_own_work_only(network: Network) -> None:
    """Work of others needs all=true, which a policy can forbid."""
    sent = job("sleep 30", delay=60.0)
    call_node(network, sent)
    for action in ("cancel", "revoke", "result"):
        refused = control(network, action, BOB, id=sent.id)
        assert (refused.statuscode, f"the request is of '{ALICE}'" in refused.statusmsg) == (1, True)
    assert control(network, "jobs", BOB).data["jobs"] == []
    assert [one["id"] for one in control(network, "jobs", BOB, all=True).data["jobs"]] == [sent.id]
    assert control(network, "cancel", BOB, id=sent.id, all=True).data["became"] == "cancelled"


def test_a_request_that_runs_is_listed_and_stopped(network: Network) -> None:
    """The caller that waits for the reply gets the reason."""
    sent = request("shell", "run", data={"command": "sleep 60", "timeout": 60}, timeout=60)
    send(network, sent)
    listed: list[dict[str, Any]] = []

    def running() -> bool:
        listed[:] = control(network, "jobs").data["jobs"]
        return bool(listed)

    wait_until(running, 10)
    assert (listed[0]["id"], listed[0]["state"], listed[0]["background"]) == (sent.id, RUNNING, False)
    send(network, request("control", "cancel", data={"id": sent.id}))
    answers = {reply.action: reply for reply in replies(network, 2)}
    assert answers["cancel"].data["became"] == "stopped"
    assert (answers["run"].reason, answers["run"].statusmsg) == ("cancelled", f"cancelled by '{ALICE}'")


def test_a_revoked_request_does_not_begin_when_it_arrives(network: Network, tmp_path: Path) -> None:
    """The order may arrive first, and names the request or its run; another caller's order does not count."""
    run = messages.new_id()
    first, second = (
        request("shell", "run", data={"command": f"echo {name} >> {tmp_path}/ran"}, run=run) for name in ("a", "b")
    )
    assert control(network, "revoke", BOB, id=first.id).data["became"] == "revoked"
    assert control(network, "revoke", id=run).data["became"] == "revoked"
    other = replace(first, id=messages.new_id(), run=None)
    assert [call_node(network, one).reason for one in (second, first, other)] == ["cancelled", "cancelled", None]
    assert (tmp_path / "ran").read_text() == "a\n"


def test_a_revocation_is_not_replaced_by_that_of_another_caller(network: Network, tmp_path: Path) -> None:
    """An order for all callers stays in force when another caller revokes the same request as its own."""
    sent = request("shell", "run", data={"command": f"touch {tmp_path}/ran"})
    assert control(network, "revoke", "admin", id=sent.id, all=True).data["became"] == "revoked"
    assert control(network, "revoke", BOB, id=sent.id).data["became"] == "revoked"
    assert control(network, "revoke", "admin", id=sent.id).data["became"] == "revoked"
    assert call_node(network, sent).reason == "cancelled"
    assert not (tmp_path / "ran").exists()


def test_a_caller_cannot_make_others_revocations_forgotten(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit of revoked requests is that of each caller."""
    monkeypatch.setattr(orders, "MOST_REVOKED", 2)
    sent = request("shell", "run", data={"command": f"touch {tmp_path}/ran"})
    control(network, "revoke", "admin", id=sent.id, all=True)
    for _ in range(3):
        control(network, "revoke", ALICE, id=messages.new_id())
    assert call_node(network, sent).reason == "cancelled"
    assert not (tmp_path / "ran").exists()


def test_a_job_with_the_id_of_another_as_its_run_does_not_hide_it(network: Network, tmp_path: Path) -> None:
    """Callers choose the run of a request; the id of a job, or of a request that runs, is preferred."""
    waiting, running = job(f"touch {tmp_path}/ran", delay=60.0), request("shell", "run", data={"command": "sleep 60"})
    for sent in (waiting, running):
        decoy = replace(job("true"), run=sent.id)
        call_node(network, decoy)
        assert result(network, decoy.id)["state"] == ENDED
    call_node(network, waiting)
    assert control(network, "result", id=waiting.id).data["state"] == SCHEDULED
    assert control(network, "cancel", id=waiting.id).data["became"] == "cancelled"
    send(network, running)
    wait_until(lambda: bool([one for one in control(network, "jobs").data["jobs"] if one["id"] == running.id]), 10)
    send(network, request("control", "cancel", data={"id": running.id}))
    assert {one.action: one.data.get("became") for one in replies(network, 2)}["cancel"] == "stopped"


def test_cancelling_a_run_acts_on_all_of_its_requests(network: Network, tmp_path: Path) -> None:
    """A node can have several requests of a run, such as retries; those of other callers are not touched."""
    first = job("sleep 60")
    run = first.id
    later = replace(job("true", delay=60.0), run=run)
    waiting = request("shell", "run", data={"command": "sleep 60", "timeout": 60}, timeout=60, run=run)
    foreign = replace(job("true", delay=60.0, caller=BOB), run=run)
    for one in (replace(first, run=run), later, foreign):
        call_node(network, one)
    send(network, waiting)  # the node runs one action of an agent at a time
    states = {first.id: RUNNING, later.id: SCHEDULED, foreign.id: SCHEDULED}

    def begun() -> bool:
        jobs = control(network, "jobs", all=True).data["jobs"]
        return {one["id"]: one["state"] for one in jobs} == states

    wait_until(begun, 20)
    send(network, request("control", "cancel", data={"id": run}))
    answers = {reply.action: reply for reply in replies(network, 2)}
    assert answers["cancel"].data["became"] == "stopped"
    assert answers["run"].reason == "cancelled"
    assert [result(network, one.id)["state"] for one in (first, later)] == [CANCELLED, CANCELLED]
    assert control(network, "result", BOB, id=foreign.id).data["state"] == SCHEDULED
    late = request("shell", "run", data={"command": f"touch {tmp_path}/ran"}, run=run)
    assert call_node(network, late).reason == "cancelled"
    assert not (tmp_path / "ran").exists()


def test_revoking_a_run_with_a_request_that_runs_says_so(network: Network) -> None:
    """What has not begun is revoked all the same."""
    first = job("sleep 60")
    later = replace(job("true", delay=60.0), run=first.id)
    for one in (first, later):
        call_node(network, one)
    wait_until(lambda: control(network, "result", id=first.id).data["state"] == RUNNING, 20)
    assert "the action has begun" in control(network, "revoke", id=first.id).statusmsg
    assert result(network, later.id)["state"] == CANCELLED
    assert control(network, "cancel", id=first.id).data["became"] == "stopped"


# -- freeze


def test_a_frozen_node_runs_only_what_reads(network: Network, tmp_path: Path) -> None:
    """The refusal says who froze it and why; rpcutil, control and actions that read are answered."""
    assert control(network, "freeze", reason="incident 4711").statuscode == 0
    refused = call_node(network, request("shell", "run", data={"command": f"touch {tmp_path}/ran"}))
    assert (refused.statuscode, refused.reason) == (1, "frozen")
    assert refused.statusmsg == f"this node was frozen by '{ALICE}': incident 4711 (crpc thaw)"
    assert call_node(network, request()).statuscode == 0
    assert call_node(network, request("shell", "list")).statuscode == 0
    pushed = request("plugins", "install", data={"bundle": "aa==", "digest": "0" * 64})
    assert call_node(network, pushed).reason == "frozen"
    assert control(network, "status").data["frozen"]["reason"] == "incident 4711"
    waiting = job(f"touch {tmp_path}/ran", grace=0.5)
    assert call_node(network, waiting).reason == "frozen"
    assert control(network, "thaw").data["before"]["caller"] == ALICE
    assert control(network, "thaw").data["before"] is None
    assert not (tmp_path / "ran").exists()


def test_a_job_does_not_begin_on_a_frozen_node(network: Network, tmp_path: Path) -> None:
    """A job that was accepted before waits for the end of the freeze, and expires after its grace time."""
    soon, patient = job(f"touch {tmp_path}/no", delay=0.5, grace=0.5), job(f"touch {tmp_path}/yes", delay=0.5)
    for sent in (soon, patient):
        assert call_node(network, sent).reason == "accepted"
    control(network, "freeze", reason="test")
    assert result(network, soon.id)["state"] == "expired"
    assert control(network, "result", id=patient.id).data["state"] == SCHEDULED
    control(network, "thaw")
    assert result(network, patient.id)["state"] == ENDED
    assert (tmp_path / "yes").exists()
    assert not (tmp_path / "no").exists()


# -- on disk


def stored(job_id: str = "a", caller: str = ALICE, **fields: Any) -> StoredJob:
    return replace(StoredJob(job_id, None, "d", caller, "shell", "run", 1.0, 5.0, 60.0, 10.0, body="{}"), **fields)


def test_a_stored_job_begins_once(tmp_path: Path) -> None:
    """The state of a job survives the daemon, and an end is recorded for the expected state only."""
    database = open_database(tmp_path / "jobs.sqlite")
    store = JobStore(database)
    store.add(stored())
    store.add(stored(start=99.0))
    assert (store.next_start(), store.due(4.0), [job.id for job in store.due(5.0)]) == (5.0, [], ["a"])
    assert (store.begin("a", 6.0), store.begin("a", 7.0)) == (True, False)
    database.close()
    store = JobStore(open_database(tmp_path / "jobs.sqlite"))
    assert [(job.id, job.state, job.began) for job in store.running()] == [("a", RUNNING, 6.0)]
    ok = ActionResult(data={"x": 1})
    assert not store.end("a", CANCELLED, ok, 8.0, before=[SCHEDULED])
    assert store.end("a", ENDED, ok, 8.0, before=[RUNNING])
    found = store.find("a")
    assert found is not None
    assert (found.state, found.body, found.result) == (
        ENDED,
        "",
        {"statuscode": 0, "statusmsg": "OK", "reason": None, "data": {"x": 1}},
    )
    store.purge(17.9)
    assert store.find("a") is not None
    store.purge(18.1)
    assert store.find("a") is None


def test_the_number_of_jobs_and_their_size_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """One caller cannot fill the store for the others, and a result that is too large is replaced by an error."""
    monkeypatch.setattr(job_store, "CALLER_JOBS", 2)
    monkeypatch.setattr(job_store, "MOST_JOBS", 3)
    store = JobStore(open_database(None))
    for job_id in "ab":
        store.add(stored(job_id))
    with pytest.raises(Failed, match=f"2 jobs of '{ALICE}'"):
        store.add(stored("c"))
    store.add(stored("d", BOB))
    with pytest.raises(Failed, match="this node has 3 jobs"):
        store.add(stored("e", BOB))
    store.end("a", ENDED, ActionResult(data={"x": "y" * job_store.LARGEST_KEPT}), 1.0, before=[SCHEDULED])
    found = store.find("a")
    assert found is not None
    assert found.result is not None
    assert (found.result["statuscode"], "more than the limit" in found.result["statusmsg"]) == (5, True)


def test_orders_survive_a_restart(tmp_path: Path) -> None:
    """A freeze and a revocation are in force again when the file is opened again."""
    database = open_database(tmp_path / "jobs.sqlite")
    Freeze(database, lambda: 1.0).freeze(ALICE, "test")
    revoked = request()
    Revocations(database, lambda: 1.0).add(revoked.id, ALICE, everyone=False)
    database.close()
    database = open_database(tmp_path / "jobs.sqlite")
    assert Freeze(database, lambda: 2.0).state == Frozen(ALICE, "test", 1.0)
    orders = Revocations(database, lambda: 2.0)
    assert (orders.by(revoked), orders.by(replace(revoked, caller=BOB)), orders.by(request())) == (ALICE, None, None)
    Freeze(database, lambda: 3.0).thaw()
    assert Freeze(database, lambda: 4.0).state is None


# -- options

NOON = datetime(2026, 11, 27, 12, 0, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12:01", NOON + timedelta(minutes=1)),
        ("02:30", NOON.replace(day=28, hour=2, minute=30)),
        ("12:00:00", NOON.replace(day=28)),
        ("2026-11-28T02:30", NOON.replace(day=28, hour=2, minute=30)),
        ("2026-11-27T11:30+00:00", NOON.replace(hour=12, minute=30)),
    ],
)
def test_a_time_is_the_next_one(text: str, expected: datetime) -> None:
    """A time without a date is today or tomorrow, and one without a zone is local."""
    assert job_options.read_time(text, NOON) == expected.timestamp()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("25:00", "must be a time such as 02:30"),
        ("tomorrow", "must be a time such as 02:30"),
        ("2026-11-27T11:00", "this time is over"),
        ("2027-01-01T00:00", "more than 30 days from now"),
    ],
)
def test_an_invalid_time_is_refused(text: str, message: str) -> None:
    """The error names the option and the value."""
    with pytest.raises(UsageError, match=f"--at '{text}': {message}"):
        job_options.read_time(text, NOON)


@pytest.mark.parametrize("fields", [{"splay": -1.0}, {"delay": 2592001.0}, {"grace": float("nan")}, {"keep": 1e9}])
def test_an_invalid_job_is_refused(fields: dict[str, float]) -> None:
    """The error names the argument, its value and the limit."""
    with pytest.raises(UsageError, match=f"{next(iter(fields))} '.*at most 2592000"):
        Background(**fields)
