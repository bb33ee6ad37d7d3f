"""Reasons, numbers of nodes and times that a policy requires, and what nodes count for it."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from support.jobs import OpenJobs
from support.node_server import audit, call_node, request

from collective import messages
from collective.audit.records import Record
from collective.errors import Failed, PolicyError
from collective.messages import Request
from collective.node.requests import caller_hours
from collective.node.requests.caller_hours import HOUR, CallerHours
from collective.node.storage import call_history
from collective.node.storage.call_history import ApprovalUses, CallHistory
from collective.node.storage.journal import Journal
from collective.policy import CallFacts, Policy, Question
from collective.policy.parsing import parse
from collective.policy.replay import DescribedActions, replay
from collective.policy.time_window import read_window
from collective.testing import memory_fleet

NOON = datetime.fromisoformat("2026-11-27T12:00+00:00").timestamp()


def policy(rule: str) -> Policy:
    return parse(f"rules:\n  - {{name: changes, agents: [service], {rule}}}\n", "policy.yaml")


def question(**call: Any) -> Question:
    facts = CallFacts(**{"time": NOON, "targets_in_hour": 1, **call})
    return Question("alice@example.com", "service", "restart", {}, None, call=facts)


@pytest.mark.parametrize(
    ("rule", "call", "why"),
    [
        ("reason: 'CHG-[0-9]+.*'", {"reason": "CHG-4711 new kernel"}, ""),
        ("reason: 'CHG-[0-9]+'", {"reason": "CHG-4711 new kernel"}, "a reason that matches 'CHG-[0-9]+', not 'CHG-4"),
        ("reason: 'CHG-[0-9]+'", {}, "a reason that matches 'CHG-[0-9]+', and none was given (--reason)"),
        ("max_targets: 5", {"targets": 5}, ""),
        ("max_targets: 5", {"targets": 6}, "at most 5 nodes per call, not 6"),
        ("max_targets: 5", {"targets": None}, "at most 5 nodes per call, not a broadcast"),
        ("approvals: 2", {"approvers": ("bob", "carol")}, ""),
        ("approvals: 2", {"approvers": ("bob",), "unnamed_approvals": 1}, ""),
        ("approvals: 2", {"approvers": ("bob",), "problem": "x"}, "2 approvals by other callers, not 1 (x)"),
        ("approvals: 2, approvers: [bob, '*@ops']", {"approvers": ("bob", "eve@ops")}, ""),
        (
            "approvals: 2, approvers: [bob, '*@ops']",
            {"approvers": ("bob", "mallory"), "problem": "x"},
            "2 approvals by other callers, not 1 (the policy accepts no approval of 'mallory'; x)",
        ),
        ("approvals: 1", {}, "1 approval by other callers, not 0"),
        ("max_targets_per_hour: 9", {"targets_in_hour": 9}, ""),
        ("max_targets_per_hour: 9", {"targets_in_hour": 10}, "at most 9 nodes per hour and caller, not 10"),
    ],
)
def test_a_rule_denies_what_does_not_meet_its_requirements(rule: str, call: dict[str, Any], why: str) -> None:
    """The denial names the rule and what is missing; no later rule is asked."""
    decision = policy(rule).decide(question(**call))
    assert (decision.allow, decision.rule) == (not why, "changes")
    assert decision.why.startswith(f"rule 'changes' requires {why}" if why else "rule 'changes' allows it")


def test_a_pattern_that_takes_too_long_does_not_match() -> None:
    """The time of a pattern is limited, and a request that cannot be decided is denied."""
    assert not policy("reason: '(a|aa)+b'").decide(question(reason="a" * 500)).allow


@pytest.mark.parametrize(
    ("window", "inside", "outside"),
    [
        ("22:00-04:00 UTC", ("22:00", "23:59", "00:00", "03:59"), ("04:00", "12:00", "21:59")),
        ("09:00-17:30 UTC", ("09:00", "17:29"), ("08:59", "17:30", "00:00")),
        ("20:00-24:00 UTC", ("20:00", "23:59"), ("00:00", "19:59")),
        ("13:00-14:00 Europe/Berlin", ("12:30",), ("13:30",)),
    ],
)
def test_a_window_contains_its_begin_and_not_its_end(
    window: str, inside: tuple[str, ...], outside: tuple[str, ...]
) -> None:
    """A window may contain midnight, and has its own time zone."""
    read = read_window(window)
    times = {text: datetime.fromisoformat(f"2026-11-27T{text}+00:00").timestamp() for text in (*inside, *outside)}
    assert [read.contains(times[text]) for text in (*inside, *outside)] == [True] * len(inside) + [False] * len(outside)


def test_a_rule_matches_at_its_times_only() -> None:
    """At other times the next rules decide, and a denial names the rule that would have allowed the request."""
    night = policy("between: '22:00-04:00 UTC'")
    assert night.decide(question(time=NOON + 11 * 3600)).allow
    decision = night.decide(question())
    assert (decision.allow, decision.rule) == (False, None)
    assert decision.why == "no rule allows it now (rule 'changes': 22:00-04:00 UTC)"
    closed = policy("between: '22:00-04:00 UTC', allow: false")
    assert closed.decide(question()).why == "no rule allows it"


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("between: '22-04'", "between: invalid times '22-04' (use HH:MM-HH:MM"),
        ("between: '25:00-26:00'", "between: invalid times"),
        ("between: '04:00-04:00'", "between: invalid times"),
        ("between: '22:00-04:00 Mars/Base'", "between: unknown time zone 'Mars/Base'"),
        ("between: 22", "between: must be times such as"),
        ("reason: '('", "reason: invalid regular expression"),
        ("reason: 5", "reason: must be a regular expression, not a number"),
        ("max_targets: 0", "max_targets: must be an integer from 1"),
        ("max_targets: true", "max_targets: must be an integer from 1, not true"),
        ("max_targets_per_hour: '5'", "max_targets_per_hour: must be an integer from 1, not '5'"),
        ("reason: 'x', allow: false", "reason: has no effect in a rule that denies"),
        ("approvers: [bob]", "approvers: has no effect without 'approvals'"),
        ("approvals: 1, approvers: []", "approvers: empty list"),
        ("approvals: 1, approvers: ['group:dba']", "approvers: unknown group 'dba' (groups: none)"),
        ("approvals: 1, approvers: [bob], allow: false", "approvals: has no effect in a rule that denies"),
        ("max_targets: 5, allow: false", "max_targets: has no effect in a rule that denies"),
    ],
)
def test_an_invalid_requirement_is_refused(rule: str, message: str) -> None:
    """The error names file, line, rule and key."""
    with pytest.raises(PolicyError) as caught:
        policy(rule)
    assert str(caught.value).startswith(f"policy.yaml:2: rule 1: {message}")


def test_a_replay_uses_the_recorded_reason_number_and_time() -> None:
    """What the audit log does not know, the calls of the hour, makes a request undecidable."""
    decision = {
        "event": "decision", "time": NOON, "caller": "alice@example.com", "agent": "service", "action": "restart",
        "data": {}, "verdict": "allowed", "reason": "CHG-1", "targets": 7, "approvers": ["bob"],
    }  # fmt: skip

    def state(rule: str) -> str:
        described = DescribedActions(lambda _agent, _action, data: data)
        return next(iter(replay(policy(rule), [Record(decision, None)], None, described))).state

    assert state("reason: 'CHG-1'") == "same"
    assert state("reason: 'CHG-2'") == "different"
    assert state("max_targets: 6") == "different"
    assert [state(f"approvals: 1, approvers: [{name}]") for name in ("bob", "carol")] == ["same", "different"]
    assert state("between: '22:00-04:00 UTC'") == "different"
    assert state("max_targets_per_hour: 100") == "undecidable"


# -- on a node


def test_a_node_requires_a_reason_and_audits_it(tmp_path: Path) -> None:
    """The reason and the number of nodes are signed by the caller, and are in the audit log."""
    rules = parse("rules: [{name: changes, reason: 'CHG-[0-9]+', max_targets: 3}]", "policy.yaml")
    with memory_fleet(tmp_path, {"web1": {}}, policy=rules) as network:
        network.transport.open_replies("testing_reply_test-0")
        denied = call_node(network, request())
        assert (denied.reason, "requires a reason" in denied.statusmsg) == ("denied", True)
        assert call_node(network, request(reason="CHG-1", total=3)).statuscode == 0
        too_many = call_node(network, request(reason="CHG-1", total=4))
        assert (too_many.reason, "at most 3 nodes per call, not 4" in too_many.statusmsg) == ("denied", True)
    lines = [line for line in audit(tmp_path) if line["event"] == "decision"]
    assert [(line["reason"], line["targets"]) for line in lines] == [(None, 1), ("CHG-1", 3), ("CHG-1", 4)]


def test_a_request_cannot_understate_its_nodes(tmp_path: Path) -> None:
    """The names in the request count, if they are more than the number that it has."""
    rules = parse("rules: [{name: changes, max_targets: 1}]", "policy.yaml")
    with memory_fleet(tmp_path, {"web1": {}}, policy=rules) as network:
        network.transport.open_replies("testing_reply_test-0")
        assert call_node(network, request(targets=("web1", "web2"), total=1)).reason == "denied"


def test_the_calls_of_an_hour_are_counted_once_for_each_run(tmp_path: Path) -> None:
    """The waves of a run are one call, a denied call is not counted, and another caller has a count of its own."""
    rules = parse("rules: [{name: changes, max_targets_per_hour: 10}]", "policy.yaml")
    with memory_fleet(tmp_path, {"web1": {}}, policy=rules) as network:
        network.transport.open_replies("testing_reply_test-0")
        run = messages.new_id()
        wave = request(run=run, total=6)
        assert [call_node(network, replace(wave, id=messages.new_id())).statuscode for _ in range(3)] == [0, 0, 0]
        assert call_node(network, request(total=5)).reason == "denied"
        assert call_node(network, request(total=4)).statuscode == 0
        assert call_node(network, request(total=1)).reason == "denied"
        assert call_node(network, request(total=10, caller="bob@example.com")).statuscode == 0


def test_different_calls_with_the_same_run_are_counted_each(tmp_path: Path) -> None:
    """The run is what the caller says, so that only requests for the same action and inputs are one call."""
    rules = parse("rules: [{name: few, max_targets_per_hour: 5}]", "policy.yaml")
    with memory_fleet(tmp_path, {"web1": {}}, policy=rules) as network:
        network.transport.open_replies("testing_reply_test-0")
        run = messages.new_id()
        sent = [request("shell", "run", data={"command": f"true {one}"}, run=run, total=4) for one in range(2)]
        assert [call_node(network, one).reason for one in sent] == [None, "denied"]


def test_the_count_ends_after_an_hour_and_its_memory_is_limited(
    monkeypatch: pytest.MonkeyPatch, open_jobs: OpenJobs
) -> None:
    """The oldest calls are counted together, also while many calls for no nodes follow; old callers are forgotten."""
    hours = CallerHours(CallHistory(open_jobs(None)))
    hours.add("alice", "a", 5, 0.0)
    hours.add("alice", "a", 3, 10.0)
    assert [hours.targets("alice", run, now) for run, now in (("b", 1.0), ("a", 1.0), ("b", HOUR))] == [5, 0, 0]
    monkeypatch.setattr(caller_hours, "RUNS", 2)
    monkeypatch.setattr(caller_hours, "CALLERS", 2)
    for run in "bc":
        hours.add("alice", run, 1, 20.0)
    assert hours.targets("alice", "", 21.0) == 7
    for number in range(5):
        hours.add("alice", f"ping {number}", 0, 21.0)
    assert [hours.targets("alice", "", now) for now in (22.0, HOUR, HOUR + 21.0)] == [7, 0, 0]
    for caller in ("bob", "carol"):
        hours.add(caller, "x", 1, 22.0)
    assert hours.targets("alice", "", 23.0) == 0


def test_the_count_survives_a_restart(tmp_path: Path, open_jobs: OpenJobs) -> None:
    """While the policy limits an hour, a new daemon counts the calls that the one before has allowed."""
    rules = parse("rules: [{name: changes, max_targets_per_hour: 10}]", "policy.yaml")
    for sent, expected in ((7, None), (4, "denied"), (3, None), (1, "denied")):
        database = open_jobs(tmp_path / "jobs.sqlite")
        with memory_fleet(tmp_path, {"web1": {}}, policy=rules, jobs=database) as network:
            network.transport.open_replies("testing_reply_test-0")
            assert call_node(network, request(total=sent)).reason == expected


def test_what_is_on_disk_is_what_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_jobs: OpenJobs
) -> None:
    """Calls that are counted together by the minute are so on disk as well; those of the hour before are deleted."""
    monkeypatch.setattr(caller_hours, "RUNS", 2)
    database = open_jobs(tmp_path / "jobs.sqlite")
    hours = CallerHours(CallHistory(database))
    for number in range(6):
        hours.add("alice", f"run {number}", number, 30.0 * number, keep=True)
    hours.add("alice", "run 5", 2, 160.0, keep=True)
    hours.add("bob", "memory only", 3, 160.0)
    assert hours.targets("alice", "", 170.0) == 15
    again = CallerHours(CallHistory(database))
    assert [again.targets(name, "", 170.0) for name in ("alice", "bob")] == [15, 0]
    assert again.targets("alice", "run 5", 170.0) == 10
    again.add("alice", "late", 1, HOUR + 100.0, keep=True)
    assert min(call.time for call in CallHistory(database).all()) >= 100.0


# -- approvals are used once


def approval(run: str, *, uses: int = 1, expires: float = 60.0, caller: str = "") -> dict[str, Any]:
    """Return the approval of a ping by bob; nodes in memory accept it without a signature."""
    content = {
        "type": "approval",
        **{
            name: getattr(request(), name)
            for name in ("collective", "installation", "caller", "agent", "action", "data", "filter", "job", "reason")
        },
        **({"caller": caller} if caller else {}),
        "targets": ["web1"],
        "run": run,
        "uses": uses,
        "expires": time.time() + expires,
    }
    return {"document": json.dumps(content), "signatures": {"bob": "x"}}


def test_an_approval_is_for_one_request_and_its_retries(tmp_path: Path, open_jobs: OpenJobs) -> None:
    """A node accepts as many requests of the run as were approved, also across a restart."""
    rules = parse("rules: [{name: approved, approvals: 1}]", "policy.yaml")
    run = messages.new_id()
    approved = approval(run, uses=2)

    def sent(*requests: Request) -> list[str]:
        """Return the status messages of a daemon of its own."""
        database = open_jobs(tmp_path / "jobs.sqlite")
        with memory_fleet(tmp_path, {"web1": {}}, policy=rules, jobs=database) as network:
            network.transport.open_replies("testing_reply_test-0")
            return [call_node(network, replace(one, time=time.time())).statusmsg for one in requests]

    first = request(id=run, run=run, approvals=approved)
    assert sent(first) == ["OK"]
    [ok, used] = sent(request(run=run, approvals=approved), request(run=run, approvals=approved))
    assert (ok, used.endswith("not 0 (the approvals have been used before)")) == ("OK", True)
    [again, other] = sent(replace(request(run=run), approvals=approved), request(approvals=approved))
    assert "(the approvals have been used before)" in again
    assert "(the approvals are for another run)" in other


def test_an_approval_is_used_once_whatever_the_id_of_the_request(tmp_path: Path, open_jobs: OpenJobs) -> None:
    """A caller that uses an id again, when the journal has forgotten it, does not use its approvals again."""
    rules = parse("rules: [{name: approved, approvals: 1}]", "policy.yaml")
    run = messages.new_id()
    sent = request(id=run, run=run, approvals=approval(run))

    def answer(journal: str) -> str:
        parts: dict[str, Any] = {"journal": Journal(tmp_path / journal, time.time)}
        parts["jobs"] = open_jobs(tmp_path / "jobs.sqlite")
        with memory_fleet(tmp_path, {"web1": {}}, policy=rules, **parts) as network:
            network.transport.open_replies("testing_reply_test-0")
            return call_node(network, replace(sent, time=time.time())).statusmsg

    assert answer("first.sqlite") == "OK"
    assert "(the approvals have been used before)" in answer("second.sqlite")


def test_another_caller_does_not_use_up_an_approval(tmp_path: Path) -> None:
    """Callers choose the ID of a run, so a request that names the run of another caller does not count for it."""
    rules = parse("rules: [{name: approved, approvals: 1}]", "policy.yaml")
    run, mallory = messages.new_id(), "mallory@example.com"
    with memory_fleet(tmp_path, {"web1": {}}, policy=rules) as network:
        network.transport.open_replies("testing_reply_test-0")
        assert call_node(network, request(run=run, caller=mallory, approvals=approval(run, caller=mallory))).ok
        assert call_node(network, request(run=run, approvals=approval(run))).ok


def test_the_uses_of_approvals_are_forgotten_when_they_expire(
    monkeypatch: pytest.MonkeyPatch, open_jobs: OpenJobs
) -> None:
    """The number of uses is limited; a node that has too many refuses instead of forgetting one."""
    monkeypatch.setattr(call_history, "MOST_USES", 2)
    uses = ApprovalUses(open_jobs(None))
    uses.add("a", "1", until=10.0, now=1.0)
    uses.add("b", "2", until=20.0, now=1.0)
    with pytest.raises(Failed, match="this node has 2 uses of approvals"):
        uses.add("c", "3", until=20.0, now=1.0)
    assert (uses.is_used_up("a", "x", 1), uses.is_used_up("a", "1", 1), uses.is_used_up("a", "x", 2)) == (
        True,
        False,
        False,
    )
    uses.add("c", "3", until=20.0, now=11.0)
    assert not uses.is_used_up("a", "x", 1)
