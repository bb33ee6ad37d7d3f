"""The policy in force on a node, while its file comes, changes, breaks and goes."""

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
    """Where the policy is."""
    return tmp_path / "policy.yaml"


def rule(policy: PolicyFile, caller: str, agent: str = "package") -> str | None:
    """Return the rule that allows `caller` an action; None when none does."""
    decision = policy.decide(Question(caller, agent, "status", {}, KnownNode({}, frozenset())))
    return decision.rule if decision.allow else None


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_without_a_file_only_rpcutil_may_be_called(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A node nobody has written a policy for can be pinged, and nothing else; its log says what to do."""
    policy = PolicyFile(path)
    assert rule(policy, "anybody", "rpcutil") == "only rpcutil (there is no policy file)"
    assert rule(policy, "anybody", "shell") is None
    assert rule(policy, "anybody", "data") is None
    assert events(caplog) == ["policy.missing"]
    assert "write one" in vars(caplog.records[0])["error"]


def test_a_change_is_in_force_with_the_next_request(path: Path) -> None:
    """Nobody has to restart the daemon, or to tell it."""
    path.write_text(ALICE)
    policy = PolicyFile(path)
    assert (rule(policy, "alice"), rule(policy, "bob")) == ("alice only", None)
    path.write_text(BOB)
    assert (rule(policy, "alice"), rule(policy, "bob")) == (None, "bob only")


def test_a_file_that_takes_the_others_place_is_seen(path: Path) -> None:
    """Even when it is of the same size and age."""
    path.write_text(ALICE)
    policy = PolicyFile(path)
    other = path.with_name("other")
    other.write_text(ALICE.replace("alice]", "wally]"))
    other.replace(path)
    assert (rule(policy, "alice"), rule(policy, "wally")) == (None, "alice only")


def test_a_broken_version_leaves_the_last_good_one_in_force(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Every fault is logged once as an error, with what is in force, and the next good version is taken."""
    path.write_text(ALICE)
    policy = PolicyFile(path)
    path.write_text(BROKEN)
    assert [rule(policy, "alice"), rule(policy, "alice"), rule(policy, "carol")] == ["alice only", "alice only", None]
    broken = [vars(record) for record in caplog.records if record.getMessage() == "policy.broken"]
    assert [record["levelname"] for record in broken] == ["ERROR", "ERROR"]
    assert {record["in_force"] for record in broken} == {"the last good version"}
    assert f"{path}:2: rule 1: callers: must be a list" in broken[0]["error"]
    path.write_text(BOB)
    assert rule(policy, "bob") == "bob only"


@pytest.mark.parametrize("text", [BROKEN, "rules: [", "\x00", "rules: [{}]\nrules: []"])
def test_broken_at_start_everything_but_rpcutil_is_refused(
    path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    """The node stays manageable, and says so; a repaired file is taken."""
    path.write_text(text)
    policy = PolicyFile(path)
    assert rule(policy, "alice", "rpcutil") == "only rpcutil (the policy file is broken)"
    assert rule(policy, "alice") is None
    assert set(events(caplog)) == {"policy.broken"}
    assert vars(caplog.records[0])["in_force"] == "only rpcutil"
    path.write_text(ALICE)
    assert rule(policy, "alice") == "alice only"


def test_a_file_that_is_gone_is_no_policy(path: Path) -> None:
    """As it would be after a restart; nothing of it lives on, even when a broken one follows."""
    path.write_text(ALICE)
    policy = PolicyFile(path)
    path.unlink()
    assert rule(policy, "alice") is None
    path.write_text(BROKEN)
    assert rule(policy, "alice") is None


def test_a_file_that_cannot_be_looked_at_is_broken(path: Path) -> None:
    """A folder, or a link that leads nowhere but to itself, changes nothing that is in force."""
    path.write_text(ALICE)
    policy = PolicyFile(path)
    path.unlink()
    path.symlink_to(path)
    assert rule(policy, "alice") == "alice only"
    path.unlink()
    path.mkdir()
    assert rule(policy, "alice") == "alice only"
