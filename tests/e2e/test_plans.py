"""What a plan says before anything is sent: policies, a dry run, nodes that are not asked, and limits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.crpc_process import NODES, Crpc, on_a_terminal
from support.json_documents import check_document
from support.waiting import wait_until

from collective.lab import control
from collective.lab.layout import Layout


def preview(crpc: Crpc, *words: str) -> dict[str, Any]:
    """Return the valid document of a plan, with the exit code as `exit`."""
    done = crpc(*words, "--plan", "--json")
    found: dict[str, Any] = json.loads(done.stdout)
    check_document(found)
    return {**found, "exit": done.returncode}


@pytest.fixture
def two_policies(lab: Layout, crpc: Crpc, tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Copies of the policy of node01 and node02, which needs approvals for the agent `file`, and of all other nodes."""
    strict = tmp_path / "strict.yaml"
    rules = [{"name": "files need two", "agents": ["file"], "approvals": 2}, {"name": "all"}]
    strict.write_text(yaml.safe_dump({"rules": rules}))
    policies = [lab.node(name) / "policy.yaml" for name in NODES[:2]]
    usual = tmp_path / "usual.yaml"
    usual.write_text(policies[0].read_text())
    try:
        for path in policies:
            path.write_text(strict.read_text())
        for name in NODES[:2]:
            control.reload_node(lab, name)
        yield strict, usual
    finally:
        for name, path in zip(NODES[:2], policies, strict=True):
            path.write_text(usual.read_text())
            control.reload_node(lab, name)


def test_a_plan_shows_which_policies_would_refuse(crpc: Crpc, two_policies: tuple[Path, Path], tmp_path: Path) -> None:
    """The registry's digest finds the policy of a node among the files; a node with another policy is not known."""
    strict, usual = map(str, two_policies)
    call = ("file", "remove", f"path={tmp_path}/x", "--policy", strict)

    def denied() -> list[str]:
        return sorted(preview(crpc, *call)["policy"]["denied"])

    wait_until(lambda: denied() == NODES[:2], 30)
    why = "rule 'files need two' requires 2 approvals by other callers, not 0"
    found = preview(crpc, *call)
    assert (found["exit"], found["dry_run"]) == (2, None)
    assert set(found["policy"]["denied"].values()) == {why}
    assert found["policy"]["unknown"] == dict.fromkeys(NODES[2:], "its policy is none of the files")
    assert preview(crpc, *call, "--policy", usual)["policy"]["unknown"] == {}
    assert preview(crpc, *call, "-I", NODES[4], "--policy", usual)["exit"] == 0
    text = crpc(*call, "--plan").stdout.splitlines()
    assert f"  would refuse: node[01-02].lab ({why})" in text
    assert "  decision not known: node[03-05].lab (its policy is none of the files)" in text
    refused = crpc(*call)
    assert (refused.returncode, "--policy: has no effect without --plan" in refused.stderr) == (64, True)


def test_a_plan_asks_nodes_what_would_change(crpc: Crpc) -> None:
    """With --dry-run the plan says which nodes would change, would not, or would fail; nothing is changed."""
    change = ("fact", "set", "name=planned", "value=5")
    assert crpc(*change, "-I", "node02.lab").returncode == 0
    try:
        found = preview(crpc, *change, "--waves", "1,rest", "--dry-run")
        assert (found["exit"], found["policy"], len(found["waves"])) == (0, None, 2)
        others = [name for name in NODES if name != "node02.lab"]
        assert found["dry_run"] == {
            "changed": others,
            "unchanged": ["node02.lab"],
            "unsaid": [],
            "failed": {},
            "silent": [],
        }
        text = crpc(*change, "--plan", "-n").stdout
        assert "  would change: 4 nodes (node[01,03-05].lab)\n  would not change: 1 node (node02.lab)\n" in text
        assert crpc("rpcutil", "get_fact", "fact=planned", "-I", "node01.lab", "-o", "json").stdout.count('"5"') == 0
    finally:
        assert crpc("fact", "remove", "name=planned", "-I", "node02.lab").returncode == 0
    failing = preview(crpc, "file", "remove", "path=/etc/hosts", "-I", "node01.lab", "-n")
    assert (failing["exit"], list(failing["dry_run"]["failed"])) == (2, ["node01.lab"])
    for words in (("--save-plan", "/nonexistent"), ("--before", "rpcutil ping")):
        refused = crpc(*change, "--dry-run", *words)
        assert (refused.returncode, refused.stdout) == (64, "")


def test_many_nodes_are_confirmed_by_their_number(lab: Layout, environment: dict[str, str], tmp_path: Path) -> None:
    """Above `type_above` a yes is not enough: the number of nodes must be typed, with a filter as well."""
    text = (lab.folder / "client.yaml").read_text().replace("key: key", f"key: {lab.folder}/key")
    (tmp_path / "client.yaml").write_text(f"{text}\ntype_above: 3\n")
    around = {**environment, "COLLECTIVE_CONFIG": str(tmp_path)}
    run = ("shell", "run", f"command=echo x >> {tmp_path}/ran", "-I", "node[01-04].lab")
    for answer in ("y\n", "3\n", "\n"):
        code, shown = on_a_terminal(around, answer, *run)
        assert (code, "type the number of nodes: " in shown) == (4, True), shown
        assert "crpc: 4 nodes matched: not confirmed: nothing was sent" in shown
    assert not (tmp_path / "ran").exists()
    code, shown = on_a_terminal(around, "4\n", *run)
    assert (code, (tmp_path / "ran").read_text()) == (0, "x\n" * 4), shown
    code, shown = on_a_terminal(around, "", "shell", "run", "command=true", "-I", "node[01-03].lab")
    assert (code, "type the number" in shown) == (0, False)


def test_a_plan_shows_when_a_job_begins(crpc: Crpc, tmp_path: Path) -> None:
    """The time, the delay and the splay of a job are in the text, the document and the saved plan that is approved."""
    job = ("shell", "run", "command=true", "--yes", "--plan", "-I", "node01.lab")
    assert preview(crpc, *job)["background"] is None
    found = preview(crpc, *job, "--in", "30m", "--splay", "10m")["background"]
    assert (found["start"], found["delay"], found["splay"]) == (None, 1800.0, 600.0)
    saved = ("--in", "30m", "--splay", "10m", "--save-plan", str(tmp_path / "plan.json"))
    assert "  as a job in 30 minutes, on each node up to 10 minutes later\n" in crpc(*job, *saved).stdout
    assert "  as a job at 2" in crpc(*job, "--at", "02:30").stdout
    assert "  as a job at once\n" in crpc(*job, "--background").stdout
    shown = crpc("apply", str(tmp_path / "plan.json"))  # standard input is not a terminal
    assert "as a job in 30 minutes, on each node up to 10 minutes later" in shown.stdout + shown.stderr
