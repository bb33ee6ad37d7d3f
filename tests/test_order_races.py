"""Orders that arrive between two steps of a request or job, on a node in memory with real processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.jobs import ALICE, control, job, result
from support.node_server import call_node, replies, request, send
from support.waiting import wait_until

from collective.node.jobs.orders import Orders
from collective.node.jobs.store import CANCELLED, ENDED, RUNNING, SCHEDULED, JobStore
from collective.node.storage.journal import Journal
from collective.testing import Network

Step = Callable[[], None]


def after(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, step: Step) -> None:
    """Take a step each time after a method has returned."""
    method = getattr(owner, name)

    def with_step(*args: Any, **named: Any) -> Any:
        returned = method(*args, **named)
        step()
        return returned

    monkeypatch.setattr(owner, name, with_step)


def cancelling(network: Network, request_id: str, became: list[str], *, running: bool = True) -> Step:
    """Return a step that cancels or revokes a request, and notes what became of it."""
    control_of_node = network.nodes["web1"].info.control
    order = {"everyone": False, "running": running, "dry_run": False}
    return lambda: became.append(control_of_node.cancel(request_id, ALICE, **order))


def test_a_job_that_is_cancelled_as_it_begins_does_not_run(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state of the job is `running` by then, although none of its processes exists."""
    sent, became = job(f"touch {tmp_path}/ran"), list[str]()
    after(monkeypatch, JobStore, "begin", cancelling(network, sent.id, became))
    call_node(network, sent)
    found = result(network, sent.id)
    assert (became, found["state"], found["result"]["reason"]) == (["stopped"], CANCELLED, "cancelled")
    assert not (tmp_path / "ran").exists()


def test_a_request_that_is_cancelled_as_it_begins_does_not_run(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order comes after the check for orders, and before the process is started."""
    sent, became = request("shell", "run", data={"command": f"touch {tmp_path}/ran"}), list[str]()
    after(monkeypatch, Orders, "refusal", cancelling(network, sent.id, became))
    assert call_node(network, sent).reason == "cancelled"
    assert became == ["stopped"]
    assert not (tmp_path / "ran").exists()


def test_a_job_that_is_revoked_as_it_is_accepted_does_not_begin(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order comes after the check for orders, and before the job is stored."""
    sent, became = job(f"touch {tmp_path}/ran"), list[str]()
    with monkeypatch.context() as patch:
        after(patch, Orders, "refusal", cancelling(network, sent.id, became, running=False))
        assert call_node(network, sent).reason == "accepted"
    assert became == ["revoked"]
    assert result(network, sent.id)["state"] == CANCELLED
    assert not (tmp_path / "ran").exists()


def test_a_job_that_waits_for_a_place_does_not_begin_on_a_frozen_node(network: Network, tmp_path: Path) -> None:
    """The freeze comes while the job is due and another action of its agent runs."""
    other, sent = request("shell", "run", data={"command": "sleep 60"}, timeout=60), job(f"touch {tmp_path}/ran")
    send(network, other)
    wait_until(lambda: bool(control(network, "jobs").data["jobs"]), 30)
    call_node(network, sent)
    control(network, "freeze", reason="test")
    send(network, request("control", "cancel", data={"id": other.id}))
    assert {reply.action for reply in replies(network, 2)} == {"cancel", "run"}
    assert control(network, "result", id=sent.id).data["state"] == SCHEDULED
    assert not (tmp_path / "ran").exists()
    control(network, "thaw")
    assert result(network, sent.id)["state"] == ENDED
    assert (tmp_path / "ran").exists()


def test_a_request_is_not_listed_once_it_has_ended(network: Network) -> None:
    """An order for it says that it has ended."""
    sent = request("shell", "run", data={"command": "true"})
    call_node(network, sent)
    wait_until(lambda: control(network, "jobs").data["jobs"] == [], 30)
    assert control(network, "cancel", id=sent.id).data["became"] == "ended"
    assert RUNNING not in [one["state"] for one in control(network, "jobs", all=True).data["jobs"]]


@pytest.mark.parametrize("order", ["cancel", "settle"])
def test_a_request_that_ends_as_it_is_revoked_has_ended(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    """The request arrives, runs and ends after the order has looked for it: the answer is not that it never begins."""
    sent, calls = request("shell", "run", data={"command": f"touch {tmp_path}/ran"}), list[Any]()

    def run_once() -> None:
        if not calls:
            calls.append(sent)
            calls.append(call_node(network, sent))

    after(monkeypatch, Journal, "find", run_once)
    control_of_node = network.nodes["web1"].info.control
    if order == "settle":
        assert control_of_node.settle(sent.id, ALICE, everyone=False, dry_run=False)["became"] == "ended"
    else:
        assert control_of_node.cancel(sent.id, ALICE, everyone=False, running=True, dry_run=False) == "ended"
    assert (calls[1].statuscode, (tmp_path / "ran").exists()) == (0, True)
