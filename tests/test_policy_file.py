"""The policy in force on a node when its file is created, changed, broken and deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from collective.node.policy_file import PolicyFile
from collective.policy import KnownNode, Question

ALICE = "rules: [{name: alice only, callers: [alice]}]"
BOB = "rules: [{name: bob only, callers: [bob]}]"
BROKEN = "rules:\n- callers: carol\n- agents: []\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of the policy file."""
    return tmp_path / "policy.yaml"


def rule(policy: PolicyFile, caller: str, agent: str = "package") -> str | None:
    """Return the name of the rule that allows an action of `agent` to `caller`; None if it is denied."""
    decision = policy.decide(Question(caller, agent, "status", {}, KnownNode({}, frozenset())))
    return decision.rule if decision.allow else None


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_without_a_policy_file_only_rpcutil_is_allowed(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A node without a policy allows rpcutil and denies everything else; its log has a hint."""
    policy = PolicyFile(path)
    assert rule(policy, "anyone", "rpcutil") == "only rpcutil (no valid policy file)"
    assert rule(policy, "anyone", "shell") is None
    assert rule(policy, "anyone", "data") is None
    assert events(caplog) == ["policy.missing"]
    assert "create a policy" in vars(caplog.records[0])["error"]


def test_a_changed_policy_is_in_force_for_the_next_request(path: Path) -> None:
    """A change needs neither a restart nor a signal."""
    path.write_text(ALICE)
    policy = PolicyFile(path)
    assert (rule(policy, "alice"), rule(policy, "bob")) == ("alice only", None)
    path.write_text(BOB)
    assert (rule(policy, "alice"), rule(policy, "bob")) == (None, "bob only")


def test_a_replaced_policy_file_is_loaded(path: Path) -> None:
    """A file that replaces the policy is loaded even if it has the same size."""
    path.write_text(ALICE)
    policy = PolicyFile(path)
    other = path.with_name("other")
    other.write_text(ALICE.replace("alice]", "wally]"))
    other.replace(path)
    assert (rule(policy, "alice"), rule(policy, "wally")) == (None, "alice only")


def test_an_invalid_policy_leaves_the_last_valid_one_in_force(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each error is logged once, with the version in force, and the next valid version is loaded."""
    path.write_text(ALICE)
    policy = PolicyFile(path)
    path.write_text(BROKEN)
    assert [rule(policy, "alice"), rule(policy, "alice"), rule(policy, "carol")] == ["alice only", "alice only", None]
    broken = [vars(record) for record in caplog.records if record.getMessage() == "policy.broken"]
    assert [record["levelname"] for record in broken] == ["ERROR", "ERROR"]
    assert {record["in_force"] for record in broken} == {"the last valid version"}
    assert f"{path}:2: rule 1: callers: must be a list" in broken[0]["error"]
    path.write_text(BOB)
    assert rule(policy, "bob") == "bob only"


@pytest.mark.parametrize("text", [BROKEN, "rules: [", "\x00", "rules: [{}]\nrules: []"])
def test_with_an_invalid_policy_at_start_only_rpcutil_is_allowed(
    path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    """The node logs the error and still allows rpcutil; a corrected file is loaded."""
    path.write_text(text)
    policy = PolicyFile(path)
    assert rule(policy, "alice", "rpcutil") == "only rpcutil (no valid policy file)"
    assert rule(policy, "alice") is None
    assert set(events(caplog)) == {"policy.broken"}
    assert vars(caplog.records[0])["in_force"] == "only rpcutil"
    path.write_text(ALICE)
    assert rule(policy, "alice") == "alice only"


def test_a_deleted_policy_is_not_in_force(path: Path) -> None:
    """A deleted policy allows nothing more, as after a restart, also if an invalid file follows."""
    path.write_text(ALICE)
    policy = PolicyFile(path)
    path.unlink()
    assert rule(policy, "alice") is None
    path.write_text(BROKEN)
    assert rule(policy, "alice") is None


def test_an_unreadable_policy_leaves_the_last_valid_one_in_force(path: Path) -> None:
    """A folder or a circular link at the path counts as an invalid policy."""
    path.write_text(ALICE)
    policy = PolicyFile(path)
    path.unlink()
    path.symlink_to(path)
    assert rule(policy, "alice") == "alice only"
    path.unlink()
    path.mkdir()
    assert rule(policy, "alice") == "alice only"


def test_a_misspelt_input_is_logged_once_per_version(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log names an input that no action has, when the policy or the plugins change, and not at each request."""
    path.write_text("rules: [{agents: [service], inputs: {properties: {servce: {enum: [nginx]}}}}]")
    policy, known = PolicyFile(path), {("service", "restart"): {"service": frozenset({"string"})}}
    asked = Question("alice", "service", "restart", {"service": "sshd"}, KnownNode({}, frozenset()), known=known)
    for _ in range(3):
        assert not policy.decide(asked).allow
    assert events(caplog).count("policy.unknown_input") == 1
    assert "has an input 'servce' (did you mean 'service'?)" in vars(caplog.records[-1])["problem"]
    policy.report(dict(known))
    assert events(caplog).count("policy.unknown_input") == 2
