"""Plans of calls: what they tell, how they are saved, and what has drifted when they are applied; retries of calls."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.json_documents import check_document
from support.scripted_fleet import Part, Scripted

from collective import Pace, Targets, policy
from collective.clients.expected_duration import expected_seconds
from collective.clients.plan_forecast import forecast
from collective.errors import PlanRefused, SignatureError, UsageError
from collective.fleet import plan_signature
from collective.fleet.amounts import Amount
from collective.fleet.plan import CallPlan, Parties, drift, read_saved, saved, saved_targets
from collective.fleet.runs.folder import RunFolder
from collective.fleet.runs.recorder import RunRecorder
from collective.fleet.steps import Hooks
from collective.registry import NodeRecord
from collective.setup.cost import call_cost
from collective.signing import NAMESPACE, PLAN_NAMESPACE, SignPayload, sshsig, unsigned
from collective.signing.keys import PrivateKey

NODES = [f"web{number}" for number in range(1, 7)]
RUN = ("shell", "run", {"command": "true"})
Changed = Callable[[Scripted, NodeRecord], NodeRecord]


def network(*absent: str) -> Scripted:
    return Scripted({name: Part() for name in NODES if name not in absent})


def change(world: Scripted, name: str, **fields: Any) -> None:
    """Change the record of a node in the registry."""
    record = next(record for record in world.registry.read().records if record.identity == name)
    world.registry.put(replace(record, **fields))


# -- the plan


def test_a_plan_sends_nothing(tmp_path: Path) -> None:
    """The nodes and waves are known before anything is sent; starting the plan reaches exactly these nodes."""
    world = network()
    with world.fleet(tmp_path) as fleet:
        plan = fleet.plan(*RUN, pace=Pace(waves="1,rest", concurrency=2))
        assert (world.sent, [len(wave.nodes) for wave in plan.waves]) == ([], [1, 5])
        outcomes = fleet.start(plan).wait()
    assert sorted(outcomes.ok) == NODES == sorted(sent.node for sent in world.sent)


def test_a_plan_tells_which_nodes_are_excluded(tmp_path: Path) -> None:
    """Stopped nodes, nodes without the agent, and those that the limit has not chosen have a reason each."""
    world = network()
    with world.fleet(tmp_path) as fleet:
        world.registry.leave("web1", "")
        change(world, "web2", agents={"rpcutil": "1"})
        change(world, "web3", agents={"shell": "0.1"})
        plan = fleet.plan(*RUN, targets=Targets().limited(3, seed=1))
        around = fleet.surroundings(plan)
    assert around.excluded.keys() | set(plan.nodes) == set(NODES)
    assert around.excluded["web1"].startswith("stopped cleanly")
    assert around.excluded["web2"] == "has no agent 'shell'"
    assert list(around.excluded.values()).count("not chosen by the limit 3") == 1
    assert around.other_versions == {name: around.versions[name] for name in plan.nodes}


def test_the_order_needs_a_registry(tmp_path: Path) -> None:
    """Without a registry the facts are unknown, and guessing would put all nodes into one group."""
    with network().fleet(tmp_path, registered=[]) as fleet, pytest.raises(UsageError, match="has no registry"):
        fleet.plan(*RUN, targets=Targets(nodes=NODES), pace=Pace(per=["az=1"]))


def test_groups_hold_in_a_call(tmp_path: Path) -> None:
    """No two nodes of one zone work at the same time, by the script's clock."""
    world = network()
    with world.fleet(tmp_path) as fleet:
        for number, name in enumerate(NODES):
            change(world, name, facts={"az": f"z{number % 3}"})
        assert len(fleet.call(*RUN, pace=Pace(per=["az=1"])).wait().ok) == 6
    zones = {name: number % 3 for number, name in enumerate(NODES)}
    for one in world.sent:
        others = [other for other in world.sent if other is not one and zones[other.node] == zones[one.node]]
        assert all(other.ends <= one.begins or one.ends <= other.begins for other in others)
    assert world.time == pytest.approx(2.0)


# -- saved plans


def save(
    plan: CallPlan, path: Path, versions: dict[str, str] | None = None, sign: SignPayload = unsigned
) -> dict[str, Any]:
    """Save a plan, and return the document as it is read again."""
    parties = Parties("scripted", "scripted", "alice")
    document = saved(plan, versions or dict.fromkeys(plan.nodes, "1"), parties, 1.0, sign)
    path.write_text(json.dumps(document))
    return read_saved(path)


def test_a_saved_plan_is_valid_and_complete(tmp_path: Path) -> None:
    """The document matches its schema, and planning it again gives the same plan."""
    pace = Pace(waves="1,50%,rest", wave_pause=2, per=["az=1"], rate="5/s", max_fail="10%", max_silent=2)
    with network().fleet(tmp_path) as fleet:
        plan = fleet.plan(*RUN, targets=Targets.select(agents=["shell"]), pace=pace)
        document = save(plan, tmp_path / "plan.json")
        assert check_document(document) == "rollout-plan"
        again = fleet.plan(*RUN, targets=saved_targets(document), pace=Pace(**document["pace"]))
    assert (again.pace, again.targets, again.waves) == (plan.pace, plan.targets, plan.waves)
    assert drift(document, again, document["versions"]) == []


@pytest.mark.parametrize(
    "pace",
    [Pace(), Pace(3, "20%", 1.5, 2), Pace(order_by="role=a,b", wave_max_fail=1, retry=2, success_threshold="95%")],
)
def test_a_pace_can_be_written_and_read(pace: Pace) -> None:
    """The data has no defaults, and is JSON."""
    assert Pace(**json.loads(json.dumps(pace.to_data()))) == pace
    assert Pace().to_data() == {}


def test_a_limit_is_saved_as_the_nodes_that_it_chose(tmp_path: Path) -> None:
    """Another random choice would be other nodes than those that were looked at."""
    with network().fleet(tmp_path) as fleet:
        document = save(fleet.plan(*RUN, targets=Targets().limited(2)), tmp_path / "plan.json")
        again = fleet.plan(*RUN, targets=saved_targets(document))
    assert drift(document, again, document["versions"]) == []


def test_what_has_changed_is_named(tmp_path: Path) -> None:
    """Nodes that are gone or new, another version of the agent, another DDL and another order are drift."""
    world = network()
    with world.fleet(tmp_path) as fleet:
        for name in NODES:
            change(world, name, facts={"az": "a"})
        pace = Pace(order_by="az")
        document = save(fleet.plan(*RUN, pace=pace), tmp_path / "plan.json")
        change(world, "web1", facts={"az": "b"})
        plan = fleet.plan(*RUN, pace=pace)
        assert drift(document, plan, {}) == ["the facts that order the nodes have changed"]
        world.registry.leave("web1", "")
        plan = fleet.plan(*RUN, pace=pace)
        other = replace(plan, action=replace(plan.action, timeout=1.0))
        assert drift(document, other, {"web2": "2"}) == [
            "the DDL of 'shell' has changed",
            "1 node no longer matched: web1",
            "1 node with another version of 'shell': web2",
        ]
        smaller = save(plan, tmp_path / "smaller.json")
        change(world, "web1")
        assert drift(smaller, fleet.plan(*RUN, pace=pace), {}) == ["1 node matched in addition: web1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not JSON"), ("[" * 100_000, "not JSON"), ("[]", "not a plan"), ('{"schema": "x"}', "not a plan")],
)
def test_a_file_that_is_no_plan_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """The error names the file."""
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=f"plan.json: {message}"):
        read_saved(path)
    with pytest.raises(UsageError, match="No such file"):
        read_saved(tmp_path / "absent.json")


ALICE, MALLORY = (PrivateKey(Ed25519PrivateKey.generate()) for _ in range(2))


def by(key: PrivateKey, namespace: str = PLAN_NAMESPACE) -> SignPayload:
    return lambda payload: sshsig.sign(key, payload, namespace)


@pytest.fixture
def signed_plan(tmp_path: Path) -> dict[str, Any]:
    """The document of a plan that alice has signed."""
    with network().fleet(tmp_path) as fleet:
        return save(fleet.plan(*RUN), tmp_path / "plan.json", sign=by(ALICE))


EDITS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "input": lambda plan: plan["data"].update(command="false"),
    "gate": lambda plan: plan["gates"]["gates"].append("cmd:touch x"),
    "hook": lambda plan: plan["hooks"].update(before={"agent": "shell", "action": "run", "data": {"command": "x"}}),
    "targets": lambda plan: plan["targets"].update(nodes=["db1"]),
    "waves": lambda plan: plan["waves"][0]["nodes"].append("db1"),
    "pace": lambda plan: plan["pace"].update(concurrency=50),
    "approval": lambda plan: plan["approval"].update(document="{}"),
    "caller": lambda plan: plan.update(caller="mallory"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_plan_is_refused(signed_plan: dict[str, Any], edit: str) -> None:
    """The signature covers every member, and only the planner can renew it; an unsigned plan is refused as well."""
    plan_signature.check(signed_plan, ALICE.public, "this caller's key")
    EDITS[edit](signed_plan)
    with pytest.raises(PlanRefused, match="it was changed after it had been saved"):
        plan_signature.check(signed_plan, ALICE.public, "this caller's key")
    for sign, problem in ((by(MALLORY), f"not this caller's key {ALICE.public.fingerprint}"), (unsigned, "not signed")):
        with pytest.raises(PlanRefused, match=re.escape(problem)):
            plan_signature.check(plan_signature.signed(signed_plan, sign), ALICE.public, "this caller's key")


def test_collected_approvals_leave_the_signature_valid(signed_plan: dict[str, Any]) -> None:
    """Approvers add their signatures to a file that the planner has signed."""
    signed_plan["approval"]["signatures"]["bob"] = "x"
    assert plan_signature.planner_key(signed_plan) == ALICE.public


def test_a_plan_without_a_signature_is_for_callers_without_a_key(signed_plan: dict[str, Any]) -> None:
    """A caller without a key runs an unsigned plan, and no plan of a caller with a key."""
    plan_signature.check(plan_signature.signed(signed_plan, unsigned), None, "this caller")
    with pytest.raises(PlanRefused, match="this caller has no key"):
        plan_signature.check(signed_plan, None, "this caller")


def test_a_signature_on_a_plan_is_valid_for_plans_only(signed_plan: dict[str, Any]) -> None:
    """A request's signature does not sign a plan, nor a plan's signature a request."""
    with pytest.raises(PlanRefused, match="the namespace 'collective', not 'collective-plan'"):
        plan_signature.check(
            plan_signature.signed(signed_plan, by(ALICE, NAMESPACE)), ALICE.public, "this caller's key"
        )
    with pytest.raises(SignatureError, match="the namespace 'collective-plan', not 'collective'"):
        sshsig.Signature.read(signed_plan["signature"])


@pytest.mark.parametrize(("name", "value"), [("signature", 1), ("hooks", {"during": {}}), ("more", 1), ("pace", [])])
def test_a_plan_of_another_shape_is_refused(
    signed_plan: dict[str, Any], tmp_path: Path, name: str, value: object
) -> None:
    """A member that is not in the schema, or has another type there, is an error of the file."""
    (tmp_path / "plan.json").write_text(json.dumps({**signed_plan, name: value}))
    with pytest.raises(UsageError, match="not a valid plan"):
        read_saved(tmp_path / "plan.json")


def test_the_cost_counts_waves() -> None:
    """Small waves are sent directly, 4.2 requests a node; a large one is published, and reaches every queue."""
    assert call_cost([10], nodes=1000, direct_limit=50).requests == 44
    assert call_cost([5, 5], nodes=1000, direct_limit=50).requests == 44
    large = call_cost([100], nodes=1000, direct_limit=50)
    assert (large.requests, large.publishes) == (2122, 1)
    assert large.dollars == pytest.approx((2122 * 0.4 + 0.5) / 1e6)


# -- retries and the exit code


def test_a_node_that_fails_is_asked_again(tmp_path: Path) -> None:
    """The outcome is that of the last attempt; every attempt has its own request."""
    world = Scripted({"web1": Part(statuscode=1), "web2": Part()})

    def recover(sent: Any) -> None:
        if len([other for other in world.sent if other.node == "web1"]) == 1:
            world.parts["web1"] = Part()

    world.watch = recover
    with world.fleet(tmp_path) as fleet:
        call = fleet.call("rpcutil", "ping", pace=Pace(retry=2, retry_delay=5))
        replies = [(reply.sender, reply.ok) for reply in call]
    assert sorted(replies) == [("web1", False), ("web1", True), ("web2", True)]
    assert (call.outcomes.exit_code(), call.outcomes.answered, len(call.request_ids)) == (0, 2, 2)
    assert [sent.at for sent in world.sent if sent.node == "web1"] == [0.0, 6.0]


@pytest.mark.parametrize("part", [Part(statuscode=1), Part(after=None)])
def test_a_node_that_always_fails_is_asked_as_often_as_allowed(tmp_path: Path, part: Part) -> None:
    """After the last attempt it is failed or silent, in exactly one outcome."""
    world = Scripted({"web1": part})
    with world.fleet(tmp_path) as fleet:
        outcomes = fleet.call("rpcutil", "ping", pace=Pace(retry=3, retry_delay=1)).wait()
    assert len(world.sent) == 4
    assert (outcomes.failed, outcomes.silent) == (([], ["web1"]) if part.after is None else (["web1"], []))


@pytest.mark.parametrize("statuscode", [2, 3, 4])
def test_a_failure_that_stays_is_not_repeated(tmp_path: Path, statuscode: int) -> None:
    """An unknown action and wrong inputs do not become right."""
    world = Scripted({"web1": Part(statuscode=statuscode)})
    with world.fleet(tmp_path) as fleet:
        fleet.call("rpcutil", "ping", pace=Pace(retry=3)).wait()
    assert len(world.sent) == 1


def test_only_idempotent_actions_are_repeated(tmp_path: Path) -> None:
    """Another action is refused, and nothing is sent."""
    world = network()
    with world.fleet(tmp_path) as fleet, pytest.raises(UsageError, match="retry: 'shell run' is not idempotent"):
        fleet.call(*RUN, pace=Pace(retry=1))
    assert world.sent == []


@pytest.mark.parametrize(
    ("failing", "threshold", "code"), [(1, "80%", 0), (1, "84%", 2), (2, "80%", 2), (0, "100%", 0)]
)
def test_enough_nodes_are_a_success(tmp_path: Path, failing: int, threshold: str, code: int) -> None:
    """The share of OK nodes decides the exit code; the counts are unchanged."""
    world = Scripted({name: Part(statuscode=1 if number < failing else 0) for number, name in enumerate(NODES)})
    with world.fleet(tmp_path) as fleet:
        outcomes = fleet.call(*RUN, pace=Pace(success_threshold=threshold)).wait()
        assert (outcomes.exit_code(), len(outcomes.failed)) == (code, failing)
        outcomes.stopped = True
        assert outcomes.exit_code() == 4
    assert Amount(80, percent=True) == outcomes.success_threshold or threshold != "80%"


# -- what policies say

POLICY = """rules:
  - {name: few, agents: [shell], max_targets_per_hour: 3, select: "not site=b"}
  - {name: site b, agents: [shell], facts: [site=b], reason: 'CHG-.*'}
  - {name: reads, agents: [rpcutil]}
"""


def test_a_copy_of_a_policy_says_what_nodes_decide(tmp_path: Path) -> None:
    """A decision that depends on earlier calls is not known; hooks are decided as well."""
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    digest = policy.read(path).digest
    world = network()
    with world.fleet(tmp_path) as fleet:
        for name in NODES[:4]:
            change(world, name, policy=digest, facts={"site": "b"} if name == NODES[0] else {})
        change(world, NODES[4], policy="0" * 64)
        plan = fleet.plan(*RUN)
        found = forecast(plan, fleet, [path], dry_run=False).policy
        assert found is not None
        assert found.denied == {
            NODES[0]: "rule 'site b' requires a reason that matches 'CHG-.*', and none was given (--reason)"
        }
        assert found.unknown == {
            **dict.fromkeys(NODES[1:4], "rule 'few' limits the nodes per hour"),
            NODES[4]: "its policy is none of the files",
            NODES[5]: "it has published no valid policy",
        }
        named = replace(plan, reason="CHG-1", hooks=Hooks(after=fleet.hook("service", "stop", {"service": "x"})))
        found = forecast(named, fleet, [path], dry_run=False).policy
        assert found is not None
        assert found.denied == dict.fromkeys(NODES[:4], "after: no rule allows it")


# -- how long it takes


def test_the_duration_is_that_of_earlier_runs(tmp_path: Path) -> None:
    """The median of the last runs of the same action counts for each wave, with the pauses and the rate."""
    runs = RunFolder(tmp_path / "runs")
    with network().fleet(tmp_path) as fleet:
        plan = fleet.plan(*RUN, pace=Pace(waves="2", wave_pause=60, concurrency=1))
        assert expected_seconds(plan, runs) is None
        fleet.call("rpcutil", "ping", record=RunRecorder(runs)).wait()
        assert expected_seconds(plan, runs) is None
        fleet.call(*RUN, record=RunRecorder(runs)).wait()
        assert expected_seconds(plan, runs) == pytest.approx(6 * 0.001 + 2 * 60)
        slow = fleet.plan(*RUN, pace=Pace(rate="6/h"))
        assert expected_seconds(slow, runs) == pytest.approx(3600)
