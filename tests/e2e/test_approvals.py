"""Approvals of other callers: requests, plans and their signatures, checked by real nodes."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.crpc_process import Crpc
from support.json_documents import check_document
from support.other_caller import OtherCaller
from support.receivers import webhook
from support.rollouts import document
from support.waiting import wait_until

from collective.fleet.approvals import approve
from collective.fleet.request_folder import PlanFile
from collective.lab.layout import Layout
from collective.signing import caller_key


@pytest.fixture
def approvers(lab: Layout, environment: dict[str, str], tmp_path: Path) -> Iterator[list[OtherCaller]]:
    """Three more callers, the third with the key of the second; node04 requires two approvals for a shell command."""
    bob, carol = (OtherCaller(lab, tmp_path, name, environment) for name in ("bob@lab", "carol@lab"))
    found = [bob, carol, OtherCaller(lab, tmp_path, "dave@lab", environment, carol.key)]
    signers, policy = lab.folder / "allowed_signers", lab.node("node04.lab") / "policy.yaml"
    before = {path: path.read_text() for path in (signers, policy)}
    signers.write_text(before[signers] + "".join(caller.line for caller in found))
    policy.write_text("rules:\n  - {name: two approve, agents: [shell], approvals: 2}\n  - {name: all}\n")
    yield found
    for path, text in before.items():
        path.write_text(text)


# -- plans


def test_a_request_needs_the_approvals_of_its_policy(
    crpc: Crpc, lab: Layout, approvers: list[OtherCaller], tmp_path: Path
) -> None:
    """One signature short, the same key twice and a changed input are refused with the reason; two approvals run it."""
    plan, ran = tmp_path / "plan.json", tmp_path / "ran"
    bob, carol, dave = approvers
    call = ("shell", "run", f"command=echo x >> {ran}", "-I", "node04.lab")
    assert crpc(*call, "--save-plan", str(plan)).returncode == 0

    def apply() -> str:
        results = document(crpc, "apply", str(plan), "--yes")
        return str(results["replies"][0]["statusmsg"])

    assert "requires 2 approvals by other callers, not 0" in apply()
    assert crpc("approve", str(plan), "--yes").returncode == 64
    assert bob.crpc("approve", str(plan)).returncode == 4
    (tmp_path / ".plan.json.new").symlink_to(tmp_path / "other")  # as another user could do in a shared folder
    done = carol.crpc("approve", str(plan), "--yes")
    assert (done.returncode, f"command=echo x >> {ran} on 1 node (node04.lab)" in done.stdout) == (0, True), done.stderr
    assert "requires 2 approvals by other callers, not 1" in apply()
    assert not (tmp_path / "other").exists()
    signed_once = plan.read_text()
    assert dave.crpc("approve", str(plan), "--yes").returncode == 0
    assert "not 1 (the approval of 'dave@lab' has the same key as another)" in apply()
    plan.write_text(signed_once)
    assert bob.crpc("approve", str(plan), "--yes").returncode == 0
    changed = plan.read_text().replace("echo x", "echo y")
    (tmp_path / "changed.json").write_text(changed)
    assert crpc("apply", str(tmp_path / "changed.json"), "--yes").returncode == 4
    assert carol.crpc("approve", str(tmp_path / "changed.json"), "--yes").returncode == 4
    assert not ran.exists()
    assert apply() == "OK"
    assert ran.read_text() == "x\n"
    lines = [json.loads(line) for line in (lab.node("node04.lab") / "audit.jsonl").read_text().splitlines()]
    assert lines[-2]["approvers"] == ["carol@lab", "bob@lab"]


def test_a_plan_runs_for_its_planner_or_one_who_names_the_planner(
    crpc: Crpc, approvers: list[OtherCaller], tmp_path: Path
) -> None:
    """A plan of a colleague needs --planner with the right key, an edited one is refused; hooks and gates are shown."""
    plan, ran = tmp_path / "plan.json", tmp_path / "ran"
    bob = approvers[0]
    nodes = ("-I", "node01.lab", "-I", "node02.lab", "--waves", "1,rest")
    call = ("rpcutil", "ping", *nodes, "--gate", f"cmd:touch {ran}", "--before", "rpcutil ping")
    assert bob.crpc(*call, "--save-plan", str(plan)).returncode == 0
    refused = crpc("apply", str(plan))
    assert (refused.returncode, refused.stdout, "'bob@lab' signed it with the key SHA256:" in refused.stderr) == (
        4,
        "",
        True,
    ), refused.stderr
    edited = json.loads(plan.read_text())
    edited["gates"]["gates"].append("cmd:true")
    (tmp_path / "edited.json").write_text(json.dumps(edited))
    for file in ("plan.json", "edited.json"):
        done = crpc("apply", str(tmp_path / file), "--planner", f"{approvers[1].key}.pub")
        assert (done.returncode, "Traceback" in done.stderr) == (4, False)
    assert crpc("apply", str(tmp_path / "edited.json"), "--planner", f"{bob.key}.pub").returncode == 4
    assert not ran.exists()
    done = crpc("apply", str(plan), "--planner", f"{bob.key}.pub")
    assert (done.returncode, ran.exists()) == (0, True), done.stderr
    for line in ("rpcutil ping on 2 nodes (node[01-02].lab)", "before: rpcutil ping", f"gate: cmd:touch {ran}"):
        assert f"crpc: plan: {line}\n" in done.stderr
    shown = approvers[1].crpc("approve", str(plan), "--yes")
    assert (shown.returncode, f"\n  gate: cmd:touch {ran}\n" in shown.stdout) == (0, True), shown.stderr


def test_an_unsigned_plan_is_for_callers_without_a_key(
    crpc: Crpc, approvers: list[OtherCaller], tmp_path: Path
) -> None:
    """A caller with a key neither applies nor approves it; one without sends it, which these nodes do not answer."""
    plan, bob = tmp_path / "plan.json", approvers[0]
    configuration = tmp_path / "bob@lab" / "client.yaml"
    configuration.write_text(configuration.read_text().replace(f"key: {bob.key}\n", "key: none\n"))
    assert bob.crpc("rpcutil", "ping", "-I", "node01.lab", "--timeout", "1", "--save-plan", str(plan)).returncode == 0
    assert check_document(json.loads(plan.read_text())) == "rollout-plan"
    for word in ("apply", "approve"):
        refused = crpc(word, str(plan), "--yes")
        assert (refused.returncode, "plan: it is not signed" in refused.stderr) == (4, True), refused.stderr
    sent = bob.crpc("apply", str(plan))
    assert (sent.returncode, "plan: rpcutil ping on 1 node (node01.lab)" in sent.stderr) == (3, True), sent.stderr


# -- requests in a folder


@pytest.fixture
def shared(lab: Layout, approvers: list[OtherCaller], environment: dict[str, str], tmp_path: Path) -> Iterator[Path]:
    """A folder of requests that all callers share; alice is the caller of the lab."""
    folder = tmp_path / "shared"
    files = [lab.folder / "client.yaml", *(caller.config for caller in approvers)]
    before = {path: path.read_text() for path in files}
    for path, text in before.items():
        path.write_text(f"{text}\nrequests: {folder}\n")
    yield folder
    for path, text in before.items():
        path.write_text(text)


def request(crpc: Crpc, *words: str) -> dict[str, Any]:
    """Save a request; return its entry."""
    found = document(crpc, "request", *words)
    assert found["exit"] == 0
    entry: dict[str, Any] = found["requests"][0]
    return entry


def test_a_request_is_approved_by_two_at_once_and_sent_once(
    crpc: Crpc, lab: Layout, approvers: list[OtherCaller], tmp_path: Path
) -> None:
    """Requests are in DynamoDB by default. Two callers that sign at once both count, and the nodes run it once."""
    bob, carol, _ = approvers
    call = ("shell", "run", f"command=echo x >> {tmp_path}/ran", "-I", "node04.lab", "--reason", "CHG-4711")
    with webhook() as page:
        made = crpc("request", *call, "--notify", page.url)
        told = page.next()
    name = made.stdout.strip()
    assert f"'crpc approve {name[:8]}'" in made.stderr
    assert (told["title"].endswith(": waiting"), f"request {name[:8]}" in told["message"]) == (True, True)
    assert [one["file"] for one in document(carol.crpc, "request")["requests"] if one["id"] == name] == [None]
    results: list[int] = []
    signing = [
        threading.Thread(target=lambda who=who: results.append(who.crpc("approve", name[:8], "--yes").returncode))
        for who in (bob, carol)
    ]
    for thread in signing:
        thread.start()
    for thread in signing:
        thread.join()
    assert results == [0, 0]
    shown = bob.crpc("request").stdout
    assert f"{name[:8]}  shell run " in shown
    assert f"command=echo x >> {tmp_path}/ran on 1 node (node04.lab); by operator@lab " in shown
    assert re.search(r"expires in 24 hours, approved by (bob@lab, carol@lab|carol@lab, bob@lab)\n", shown)
    first, again = (document(crpc, "apply", name, "--yes") for _ in range(2))
    assert (first["exit"], again["exit"], again["replies"][0]["statuscode"] == 0) == (0, 2, False)
    assert len({name, first["request_id"], again["request_id"]}) == 3
    for sent in (first, again):
        assert document(crpc, "show", sent["request_id"])["outcomes"] == sent["outcomes"]
    cancelled = crpc("jobs", "cancel", first["request_id"])
    assert f"Request: {name}\n" in cancelled.stdout  # what its requests name as their run
    assert (tmp_path / "ran").read_text() == "x\n"


def test_a_request_that_is_not_approved_in_time_is_refused(
    crpc: Crpc, approvers: list[OtherCaller], shared: Path, tmp_path: Path
) -> None:
    """Nodes refuse it with the reason, although both signatures are valid."""
    bob, carol, _ = approvers
    call = ("shell", "run", f"command=touch {tmp_path}/ran", "-I", "node04.lab")
    made = request(crpc, *call, "--expires", "1s")
    place = PlanFile(Path(made["file"]))
    for caller in (bob, carol):  # `crpc approve` refuses it by now
        assert place.replace(approve(place.read(), caller.name, caller_key.signing(caller.key)))
    wait_until(lambda: time.time() > made["expires"] + 2, 30)
    refused = document(crpc, "apply", made["id"], "--yes")["replies"][0]
    assert (refused["reason"], refused["statusmsg"].endswith("not 0 (the approvals have expired)")) == ("denied", True)
    assert not (tmp_path / "ran").exists()


def test_a_rule_names_the_callers_whose_approvals_count(
    crpc: Crpc, lab: Layout, approvers: list[OtherCaller], shared: Path, tmp_path: Path
) -> None:
    """The approval of a caller that the rule does not name does not count, and the denial names the caller."""
    bob, carol, _ = approvers
    policy = lab.node("node04.lab") / "policy.yaml"
    rule = "{name: leads, agents: [shell], approvals: 1, approvers: ['group:leads']}"
    policy.write_text(f"groups: {{leads: [carol@lab]}}\nrules:\n  - {rule}\n  - {{name: all}}\n")
    made = request(crpc, "shell", "run", f"command=touch {tmp_path}/ran", "-I", "node04.lab")
    assert bob.crpc("approve", made["id"], "--yes").returncode == 0
    refused = document(crpc, "apply", made["id"], "--yes")["replies"][0]["statusmsg"]
    assert "requires 1 approval by other callers, not 0 (the policy accepts no approval of 'bob@lab')" in refused
    assert not (tmp_path / "ran").exists()
    assert carol.crpc("approve", made["id"], "--yes").returncode == 0
    assert document(crpc, "apply", made["id"], "--yes")["exit"] == 0
