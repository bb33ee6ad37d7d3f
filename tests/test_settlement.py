"""What became of the requests of a caller that ended: the answers of nodes, and the outcomes that follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.jobs import ALICE, BOB, control
from support.node_server import call_node, replies, request, send
from support.run_store_contract import begin_event, request_event
from support.waiting import wait_until

from collective.fleet.runs import saved_run
from collective.fleet.runs.folder import RunFile
from collective.fleet.steering.settlement import Settlement, last_requests, sleeping
from collective.messages import new_id
from collective.testing import Network

# -- a node


def settle(network: Network, request_id: str, caller: str = ALICE, **options: bool) -> dict[str, Any]:
    """Ask the node what became of a request."""
    asked = {"everyone": False, "dry_run": False, **options}
    return network.nodes["web1"].info.control.settle(request_id, caller, **asked)


def test_a_request_that_has_ended_is_answered_with_its_reply(network: Network) -> None:
    """The reply has what a caller records; the order to settle changes nothing."""
    sent = request("shell", "run", data={"command": "echo done; exit 3"})
    call_node(network, sent)
    found = settle(network, sent.id)
    assert (found["became"], found["reply"]["statuscode"], found["reply"]["data"]["stdout"]) == ("ended", 1, "done\n")
    assert set(found["reply"]) == {"statuscode", "statusmsg", "reason", "data", "time", "elapsed_ms"}


def test_a_request_that_runs_goes_on(network: Network) -> None:
    """The answer is `running` until the action has ended, and then has its reply."""
    sent = request("shell", "run", data={"command": "sleep 1"})
    send(network, sent)
    wait_until(lambda: bool(control(network, "jobs").data["jobs"]), 30)
    assert settle(network, sent.id) == {"id": sent.id, "became": "running", "reply": None}
    assert replies(network)[0].statuscode == 0
    wait_until(lambda: settle(network, sent.id)["became"] == "ended", 30)


def test_a_request_that_has_not_begun_never_begins(network: Network, tmp_path: Path) -> None:
    """A request that waits for a place, and one that arrives later, are refused as cancelled."""
    first = request("shell", "run", data={"command": "sleep 60"}, timeout=60)
    waiting = request("shell", "run", data={"command": f"touch {tmp_path}/ran"}, timeout=60)
    late = request("shell", "run", data={"command": f"touch {tmp_path}/ran"})
    send(network, first)
    wait_until(lambda: bool(control(network, "jobs").data["jobs"]), 30)
    send(network, waiting)
    wait_until(lambda: settle(network, waiting.id, dry_run=True)["became"] == "running", 30)
    assert [settle(network, one.id)["became"] for one in (waiting, late)] == ["running", "revoked"]
    send(network, request("control", "cancel", data={"id": first.id}))
    assert {one.action: one.reason for one in replies(network, 3)} == {"cancel": None, "run": "cancelled"}
    assert settle(network, waiting.id)["reply"]["reason"] == "cancelled"
    assert call_node(network, late).reason == "cancelled"
    assert not (tmp_path / "ran").exists()


def test_a_dry_run_of_the_question_revokes_nothing(network: Network) -> None:
    """A request that arrives after it is run."""
    sent = request("shell", "run", data={"command": "true"})
    assert settle(network, sent.id, dry_run=True)["became"] == "revoked"
    assert call_node(network, sent).statuscode == 0


def test_requests_of_other_callers_are_settled_with_all_only(network: Network, tmp_path: Path) -> None:
    """Without `all`, an order of another caller neither reads a reply nor revokes anything."""
    sent = request("shell", "run", data={"command": "true"})
    assert control(network, "settle", BOB, id=sent.id).data["became"] == "revoked"
    assert call_node(network, sent).statuscode == 0
    refused = control(network, "settle", BOB, id=sent.id)
    assert (refused.statuscode, f"the request is of '{ALICE}'" in refused.statusmsg) == (1, True)
    assert control(network, "settle", BOB, id=sent.id, all=True).data["became"] == "ended"


def test_another_caller_does_not_stand_in_for_a_request(network: Network) -> None:
    """Callers choose the run of a request: one that names the id of another caller's request is not that request."""
    sent = request("shell", "run", data={"command": "true"})
    other = request("shell", "run", data={"command": "sleep 60"}, caller=BOB, run=sent.id, timeout=60)
    send(network, other)
    wait_until(lambda: bool(control(network, "jobs", BOB).data["jobs"]), 30)
    assert control(network, "settle", id=sent.id).data["became"] == "revoked"
    send(network, request("control", "cancel", data={"id": other.id}, caller=BOB))
    assert {one.action: one.reason for one in replies(network, 2)} == {"cancel": None, "run": "cancelled"}


# -- the outcomes of a run

FIRST, MAIN, LAST = (new_id() for _ in range(3))
OK = {"statuscode": 0, "statusmsg": "OK", "reason": None, "data": {"x": 1}}
BAD = {"statuscode": 1, "statusmsg": "no", "reason": None, "data": {"x": 1}}


@dataclass
class SettledNodes:
    """Answers of nodes by request and node, one for each question, and the questions."""

    answers: dict[str, dict[str, list[dict[str, Any]]]]
    asked: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    time: float = 1000.0

    def ask(self, request_id: str, nodes: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """Return the next answer of each node that has one; the last one is repeated."""
        self.asked.append((request_id, tuple(nodes)))
        known = self.answers.get(request_id, {})
        return {node: known[node].pop(0) if len(known[node]) > 1 else known[node][0] for node in nodes if node in known}

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.time += seconds


def ended(reply: dict[str, Any] | None) -> list[dict[str, Any]]:
    return [{"became": "ended", "reply": reply}]


def outcomes(nodes: SettledNodes, *found: dict[str, Any], hooks: Sequence[str] = ()) -> dict[str, Any]:
    """Return the outcome of each node by the events of the settlement of a run with these events."""
    plan = {"event": "plan", "document": {"call": {"hooks": {name: {} for name in hooks}}}}
    run = new_id()
    every = [begin_event(run), {**request_event(), "expected": ["a", "b", "c"]}, plan, *found]
    saved = saved_run.of_events(RunFile(Path("x.jsonl"), run, 1000.0), every)
    shown: dict[str, Any] = {}
    for event in Settlement(saved, nodes.ask, nodes.wait, lambda: nodes.time).events():
        if event["event"] == "silent":
            shown |= dict.fromkeys(event["nodes"], "silent")
        else:
            shown[event["sender"]] = (event["statuscode"], event["reason"], event["data"])
    return shown


def sent(request_id: str, *nodes: str, step: str = "") -> dict[str, Any]:
    return {"event": "sent", "request": request_id, "nodes": list(nodes), "step": step, "time": 1000.0}


def test_nodes_that_have_replied_are_not_asked() -> None:
    """The others have the outcome that they answer; one that does not answer, or has not begun, is silent."""
    reply = {"event": "reply", "sender": "a", **OK}
    nodes = SettledNodes({MAIN: {"b": ended(BAD), "c": [{"became": "revoked", "reply": None}]}})
    assert outcomes(nodes, sent(MAIN, "a", "b", "c"), reply) == {"b": (1, None, {"x": 1}), "c": "silent"}
    assert nodes.asked == [(MAIN, ("b", "c"))]
    assert outcomes(SettledNodes({}), sent(MAIN, "a")) == {"a": "silent"}


def test_a_node_that_works_is_asked_again_until_its_time_is_over() -> None:
    """The pauses grow; a node that still works at the end is silent."""
    working = {"became": "running", "reply": None}
    nodes = SettledNodes({MAIN: {"a": [working, working, *ended(OK)], "b": ended(OK)}})
    assert outcomes(nodes, sent(MAIN, "a", "b")) == {"a": (0, None, {"x": 1}), "b": (0, None, {"x": 1})}
    assert [names for _, names in nodes.asked] == [("a", "b"), ("a",), ("a",)]
    assert nodes.time == 1003.0
    assert outcomes(SettledNodes({MAIN: {"a": [working]}}), sent(MAIN, "a")) == {"a": "silent"}


def test_only_the_last_request_to_a_node_counts() -> None:
    """A retry has its own request, and the reply before it is not an outcome."""
    events = [sent(FIRST, "a", "b"), {"event": "reply", "sender": "a", **BAD}, sent(MAIN, "a")]
    nodes = SettledNodes({FIRST: {"b": ended(OK)}, MAIN: {"a": ended(OK)}})
    assert outcomes(nodes, *events) == {"a": (0, None, {"x": 1}), "b": (0, None, {"x": 1})}


@pytest.mark.parametrize(
    ("hooks", "steps", "answers", "expected"),
    [
        (["before"], [FIRST], {FIRST: OK}, (1, "interrupted", {})),
        (["before"], [FIRST], {FIRST: BAD}, (1, "before", {})),
        (["before"], [FIRST, MAIN], {MAIN: OK}, (0, None, {"x": 1})),
        (["after"], [MAIN], {MAIN: OK}, (1, "interrupted", {"x": 1})),
        (["after"], [MAIN], {MAIN: BAD}, (1, None, {"x": 1})),
        (["before", "after"], [FIRST, MAIN, LAST], {LAST: OK, MAIN: {**OK, "data": {"y": 2}}}, (0, None, {"y": 2})),
        (["after"], [MAIN, LAST], {LAST: {**OK, "data": {"hook": 1}}}, (0, None, {})),
        (["after"], [MAIN, LAST], {LAST: BAD}, (1, "after", {})),
        (["after"], [MAIN, LAST], {LAST: None}, "silent"),
    ],
)
def test_a_node_between_two_steps_has_failed(
    hooks: list[str], steps: list[str], answers: dict[str, Any], expected: Any
) -> None:
    """The work of a node is done after its last step, and the outcome is that of the action, or of the failed hook."""
    names = {FIRST: "before", MAIN: "", LAST: "after"}
    nodes = SettledNodes({one: {"a": ended(reply)} for one, reply in answers.items()})
    assert outcomes(nodes, *(sent(one, "a", step=names[one]) for one in steps), hooks=hooks) == {"a": expected}


def test_waves_to_all_nodes_name_none() -> None:
    """The record of a wave to all nodes has no names."""
    run = new_id()
    every = [
        begin_event(run),
        {**request_event(), "expected": ["a", "b"]},
        {**sent(FIRST), "nodes": None},
        sent(MAIN, "b"),
    ]
    saved = saved_run.of_events(RunFile(Path("x.jsonl"), run, 1000.0), every)
    assert last_requests(saved) == {"a": FIRST, "b": MAIN}


def test_a_caller_that_has_lost_the_run_stops_waiting() -> None:
    """The lease is checked before each second of a pause, and the error ends the settlement."""
    slept: list[float] = []

    def check() -> None:
        if len(slept) == 2:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        sleeping(check, slept.append)(10.0)
    assert slept == [1.0, 1.0]
