"""Orders that stop work (cancel, revoke, freeze), on nodes in memory with real processes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.jobs import ALICE, BOB, control, job, result
from support.node_server import call_node, replies, request, send
from support.waiting import wait_until

from collective import messages
from collective.node.jobs import orders
from collective.node.jobs.store import CANCELLED, ENDED, RUNNING, SCHEDULED
from collective.testing import Network

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

    wait_until(running, 30)
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
    wait_until(lambda: bool([one for one in control(network, "jobs").data["jobs"] if one["id"] == running.id]), 30)
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

    wait_until(begun, 30)
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
    wait_until(lambda: control(network, "result", id=first.id).data["state"] == RUNNING, 30)
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
