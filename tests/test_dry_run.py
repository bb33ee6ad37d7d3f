"""Dry runs: from the caller over the signed request, the policy and the audit log to the action."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.node_server import audit, described, request

from collective import messages, policy
from collective.catalog import Catalog
from collective.ddl import Action
from collective.errors import MessageError, NoDryRun
from collective.node.plugins import agents
from collective.policy import Policy, Question, Rule
from collective.testing import agent, memory_fleet

CODE = """
import pathlib

from collective.agent import action


@action
def touch(path, *, dry_run=False):
    there = pathlib.Path(path).exists()
    if not dry_run:
        pathlib.Path(path).touch()
    return {"changed": not there} | ({} if dry_run else {"inode": pathlib.Path(path).stat().st_ino})


@action
def look(path):
    return {"changed": pathlib.Path(path).exists(), "inode": 0}
"""
INPUTS = {"path": {"type": "string"}}
OUTPUTS = {"changed": {"type": "boolean"}, "inode": {"type": "integer"}}


def folders(tmp_path: Path, code: str = CODE, *, touch: bool = True, look: bool = False) -> tuple[list[Path], ...]:
    """Write the agent `toucher`; `touch` and `look` are what its DDL says about their dry runs."""
    for name in ("code", "ddl", "settings"):
        (tmp_path / name).mkdir(exist_ok=True)
    actions = {
        "touch": described(INPUTS, OUTPUTS, dry_run=touch),
        "look": described(INPUTS, OUTPUTS, dry_run=look),
    }
    metadata = {"name": "toucher", "description": "Create files", "version": "1"}
    (tmp_path / "code" / "toucher.py").write_text(code)
    (tmp_path / "ddl" / "toucher.json").write_text(json.dumps({"metadata": metadata, "actions": actions}))
    return [tmp_path / "code"], [tmp_path / "ddl"]


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"touch": False}, "toucher.touch: the function has 'dry_run' but the DDL does not"),
        ({"look": True}, "toucher.look: 'dry_run' is true in the DDL but the function has no keyword-only 'dry_run'"),
    ],
    ids=["only the code", "only the DDL"],
)
def test_code_and_ddl_must_agree_on_a_dry_run(said: dict[str, Any], problem: str, tmp_path: Path) -> None:
    """An agent is refused when its code and its DDL disagree: a dry run would change the node."""
    code, ddls = folders(tmp_path, **said)
    loaded = agents.load(code, ddls, tmp_path / "settings")
    assert list(loaded) == []
    assert problem in loaded.refused["toucher"]


def test_a_dry_run_reports_and_changes_nothing(tmp_path: Path) -> None:
    """Every node of a dry run reports what it would change, may omit outputs, audits it, and changes nothing."""
    code, ddls = folders(tmp_path)
    file = tmp_path / "file"
    with memory_fleet(tmp_path, {"web1": {}}, code=code, ddls=ddls, client={"max_targets": 0}) as network:
        call = network.fleet.call("toucher", "touch", {"path": str(file)}, dry_run=True)
        assert call.wait().replies["web1"].data == {"changed": True}
        assert call.dry_run
        assert not file.exists()
        done = network.fleet.call("toucher", "touch", {"path": str(file)}).wait()
        assert done.replies["web1"].data == {"changed": True, "inode": file.stat().st_ino}
    assert [entry["dry_run"] for entry in audit(tmp_path) if entry["event"] == "decision"] == [True, False]


def test_an_action_without_a_dry_run_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller refuses the dry run of an action that has none before sending, and so does a node that gets one."""
    code, ddls = folders(tmp_path)
    with memory_fleet(tmp_path, {"web1": {}}, code=code, ddls=ddls) as network:
        with pytest.raises(NoDryRun, match=r"^toucher look: this action has no dry run \(call it without --dry-run\)$"):
            network.fleet.call("toucher", "look", {"path": "/"}, dry_run=True)
        changed = Catalog(ddls)
        described = changed.action("toucher", "look")
        ddl = changed.ddl("toucher")
        trusting = replace(ddl, actions={**ddl.actions, "look": replace(described, dry_run=True)})
        monkeypatch.setattr(changed, "ddl", lambda _name: trusting)
        monkeypatch.setattr(changed, "action", lambda _agent, name: trusting.action(name))
        network.fleet.catalog = changed
        reply = network.fleet.call("toucher", "look", {"path": "/"}, dry_run=True).wait().replies["web1"]
    assert (reply.statuscode, reply.reason, reply.data) == (4, "no_dry_run", {})


def test_an_older_node_drops_a_dry_run() -> None:
    """A dry run names `dry_run` as critical, so that a node which does not know the member never runs the action."""
    asked = request(dry_run=True, critical=("dry_run",))
    content = messages.unseal(messages.seal(messages.encode(asked), lambda _: None)).content
    assert messages.decode_request(content) == asked
    older = {name: value for name, value in content.items() if name != "dry_run"}
    with pytest.raises(MessageError, match="unknown critical member 'dry_run'"):
        messages.decode_request(older)


@pytest.mark.parametrize(("key", "allowed"), [(None, [True, True]), (True, [False, True]), (False, [True, False])])
def test_a_rule_may_be_for_dry_runs_only(key: bool | None, allowed: list[bool]) -> None:
    """A rule with `dry_run: true` matches dry runs, with `false` real runs, and without the key both."""
    rules = Policy([Rule("one", dry_run=key)])
    node = policy.KnownNode({}, frozenset())
    asked = [rules.decide(Question("bob", "package", "install", {}, node, dry_run=dry)) for dry in (False, True)]
    assert [decision.allow for decision in asked] == allowed


def test_a_policy_that_allows_dry_runs_only(tmp_path: Path) -> None:
    """A caller who may only make dry runs gets the report, and is denied the real run."""
    code, ddls = folders(tmp_path)
    (tmp_path / "policy.yaml").write_text("rules:\n- {agents: [toucher], dry_run: true}\n")
    rules = policy.read(tmp_path / "policy.yaml")
    with memory_fleet(tmp_path, {"web1": {}}, code=code, ddls=ddls, policy=rules) as network:
        inputs = {"path": str(tmp_path / "file")}
        answers = [
            network.fleet.call("toucher", "touch", inputs, dry_run=dry).wait().replies["web1"] for dry in (True, False)
        ]
    assert [(reply.statuscode, reply.reason) for reply in answers] == [(0, None), (1, "denied")]


def standard() -> list[Action]:
    """Return the actions of all standard agents."""
    catalog = Catalog()
    return [action for name in catalog.paths for action in catalog.ddl(name).actions.values()]


@pytest.mark.parametrize("action", standard(), ids=lambda action: f"{action.agent} {action.name}")
def test_standard_actions_that_change_nodes_have_a_dry_run(action: Action) -> None:
    """Each standard action only reads, or has a dry run; one with the output `changed` does not only read."""
    assert action.dry_run != action.read_only
    assert not (action.read_only and "changed" in action.outputs)


def test_changing_actions_are_found() -> None:
    """The list of actions that change nodes is not empty by mistake."""
    found = {(action.agent, action.name) for action in standard() if not action.read_only}
    assert {("service", "start"), ("package", "purge"), ("control", "freeze"), ("plugins", "install")} <= found


def test_authors_test_dry_runs(tmp_path: Path) -> None:
    """`collective.testing` calls an action as a dry run, and refuses it for an action that has none."""
    folders(tmp_path)
    (tmp_path / "code").rename(tmp_path / "agents")
    toucher = agent("toucher", tmp_path)
    file = tmp_path / "file"
    assert toucher.request("touch", {"path": str(file)}, dry_run=True).data == {"changed": True}
    assert not file.exists()
    assert toucher.request("look", {"path": "/"}, dry_run=True).reason == "no_dry_run"
