"""Policies: who may do what, the first rule that matches, and deny when none does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from test_messages import REQUEST

from collective.errors import Aborted, ConfigError
from collective.node import policy

RULES = """
rules:
  - {name: no shells, agents: [shell], allow: false}
  - {name: operators, callers: [alice@example.com, "*@ops.example.com"], agents: [package, service]}
  - {callers: [bob], agents: [package], actions: [status, "count*"]}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "policy.yaml"
    path.write_text(text)
    return path


def verdict(rules: policy.Policy, call: str) -> str:
    """Return what becomes of `caller agent action`: the rule that allows it, or the reason why not."""
    caller, agent, action = call.split()
    try:
        return rules.check(replace(REQUEST, caller=caller, agent=agent, action=action))
    except Aborted as fault:
        return str(fault.reason)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("alice@example.com package install", "operators"),
        ("carol@ops.example.com service restart", "operators"),
        ("alice@example.com shell run", "denied"),
        ("alice@example.com nrpe runcommand", "denied"),
        ("bob package status", "3"),
        ("bob package count_all", "3"),
        ("bob package install", "denied"),
        ("bobby package status", "denied"),
        ("Bob package status", "denied"),
        ("xalice@example.com package install", "denied"),
        ("alice@example.com.evil.org package install", "denied"),
        ("bob packages status", "denied"),
    ],
)
def test_the_first_rule_that_matches_decides(tmp_path: Path, call: str, said: str) -> None:
    """Names match as a whole and by case; what no rule allows is denied."""
    assert verdict(policy.load(write(tmp_path, RULES)), call) == said


def test_a_denial_names_its_rule(tmp_path: Path) -> None:
    """Whoever is denied reads which rule did it, or that none allows it."""
    rules = policy.load(write(tmp_path, RULES))
    with pytest.raises(Aborted, match="'bob' may not call shell run here: rule 'no shells' denies it"):
        rules.check(replace(REQUEST, caller="bob", agent="shell", action="run"))
    with pytest.raises(Aborted, match="'bob' may not call nrpe runcommand here: no rule allows it"):
        rules.check(replace(REQUEST, caller="bob", agent="nrpe", action="runcommand"))


# From MCollective's actionpolicy (spec/actionpolicy/actionpolicy_spec.rb, util/actionpolicy.rb:53-77), as YAML.
@pytest.mark.parametrize(
    ("rules", "call", "said"),
    [
        ("[{name: x}]", "rspec_caller rspec rspec_action", "x"),
        ("[{callers: ['uid=500']}]", "uid=501 rspec rspec_action", "denied"),
        ("[{name: x, actions: [rspec]}]", "rspec_caller rspec rspec", "x"),
        ("[{actions: [rspec]}]", "rspec_caller rspec notrspec", "denied"),
        ("[{name: x, callers: ['uid=500'], actions: [rspec]}]", "uid=500 rspec rspec", "x"),
        ("[{name: x, callers: ['uid=500', 'uid=600', 'uid=700']}]", "uid=600 rspec rspec_action", "x"),
        ("[{callers: ['uid=1'], allow: false}, {callers: ['uid=1']}]", "uid=1 rspec rspec_action", "denied"),
        ("[{name: x, callers: ['uid=1']}, {callers: ['uid=1'], allow: false}]", "uid=1 rspec rspec_action", "x"),
        ("[]", "rspec_caller rspec rspec_action", "denied"),
    ],
)
def test_rules_mean_what_they_meant_to_mcollective(tmp_path: Path, rules: str, call: str, said: str) -> None:
    """First match wins, and an empty policy denies everything."""
    assert verdict(policy.load(write(tmp_path, f"rules: {rules}")), call) == said


def test_without_a_file_only_rpcutil_may_be_called(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A node nobody has written a policy for can be pinged, and nothing else; its log says so."""
    rules = policy.load(tmp_path / "none.yaml")
    assert verdict(rules, "anybody rpcutil ping") == "default (there is no policy file)"
    assert verdict(rules, "anybody shell run") == "denied"
    assert [record.getMessage() for record in caplog.records] == ["policy.missing"]


FAULTS = {
    "": "must hold one key, 'rules', with a list",
    "[]": "must hold one key, 'rules', with a list",
    "rules: {}": "must hold one key, 'rules', with a list",
    "{rules: [], default: allow}": "must hold one key, 'rules', with a list",
    "rules: [{}, alice]": "rule 2: must hold keys and values, not str",
    "rules: [{caller: [alice]}]": "rule 1: caller: no such key: there are name, callers",
    "rules: [{callers: alice}]": "rule 1: callers: must be a list of texts, not 'alice'",
    "rules: [{actions: [5]}]": "rule 1: actions: must be a list of texts, not [5]",
    "rules: [{allow: 'no'}]": "rule 1: allow: must be true or false, not 'no'",
    "rules: [{callers: [a], callers: [b]}]": "'callers' is said twice",
    "rules: [": "did not find",
}


@pytest.mark.parametrize("text", FAULTS)
def test_a_wrong_policy_is_refused_whole(tmp_path: Path, text: str) -> None:
    """No rule is dropped in silence: the file, the rule and the key are named."""
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        policy.load(path)
    assert str(caught.value).startswith(str(path))
    assert FAULTS[text] in str(caught.value)
