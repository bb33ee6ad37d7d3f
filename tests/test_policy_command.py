"""Tests of `crpc policy` and `crpc audit` that need no node: their output and their exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.audit_log import write_audit
from support.crpc_call import called, json_document

Captured = pytest.CaptureFixture[str]

POLICY = """
groups: {ops: [alice, "*@ops"]}
rules:
  - name: the web
    callers: [group:ops]
    agents: [service]
    facts: [env=prod]
    inputs: {required: [service], properties: {service: {enum: [nginx]}}}
  - {name: packages, callers: [bob], agents: [package], actions: [status]}
  - {name: no output, agents: [shell], inputs: {required: [stdin], properties: {stdin: {const: ""}}}, allow: false}
  - {name: data, agents: [data, shell]}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a policy, facts and classes into the working folder, and configure no client.yaml; return the folder."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "facts.yaml").write_text("env: prod")
    (tmp_path / "odd.yaml").write_text("env: !ruby/sym prod\nload: .nan\n")
    (tmp_path / "pairs.txt").write_text("env=prod\n")
    (tmp_path / "list.yaml").write_text("[env]")
    (tmp_path / "classes.txt").write_text("web\nrole::db")
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path / "nowhere"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Arguments of `crpc policy test`: exit code, standard output, and a part of standard error.
REQUESTS: dict[str, tuple[int, str, str]] = {
    "--caller bob package status package=zsh": (0, "allowed: rule 'packages' allows it\n", ""),
    "--caller bobby package status package=zsh": (2, "denied: no rule allows it\n", ""),
    "package status package=zsh --caller bob": (0, "allowed: rule 'packages' allows it\n", ""),
    "--caller bob package install package=zsh": (2, "denied: no rule allows it\n", ""),
    "--caller bob shell run command=true": (2, "denied: rule 'no output' denies it\n", ""),
    "--caller bob shell run command=true stdin=x": (0, "allowed: rule 'data' allows it\n", ""),
    "--caller alice service restart service=nginx --facts facts.yaml": (0, "allowed: rule 'the web' allows it\n", ""),
    "--caller alice service restart service=sshd --facts facts.yaml": (2, "denied: no rule allows it\n", ""),
    "--caller alice service restart service=nginx --classes classes.txt": (2, "denied: no rule allows it\n", ""),
    "--caller alice service restart service=nginx": (
        2,
        "denied: no rule allows it\n",
        "crpc: the decision depends on the node (use --facts and --classes); assuming it has none\n",
    ),
    "--caller bob data fstat query=/etc/hosts": (
        0,
        "allowed: rule 'data' allows it\n",
        "crpc: no DDL for 'data fstat': reading its inputs as strings\n",
    ),
    "--caller bob rspec action": (2, "denied: no rule allows it\n", ""),
    "--caller bob package": (64, "", "agent and action are missing"),
    "package status": (64, "", "--caller"),
    "--caller bob package status zsh bash": (64, "", "'bash': only one input can be given without its name"),
    "--caller bob rspec action zsh": (64, "", "'zsh': inputs are given as KEY=VALUE"),
    "--caller bob package status pakage=zsh": (64, "", "there is no input 'pakage'"),
    "--caller bob package status --facts none.yaml": (78, "", "none.yaml: cannot be read: No such file"),
    "--caller bob package status --facts classes.txt": (78, "", "classes.txt:1: must be key=value, not '"),
    "--caller alice service restart service=nginx --facts odd.yaml": (
        0,
        "allowed: rule 'the web' allows it\n",
        "crpc: odd.yaml: fact 'load' is omitted: NaN is not a JSON number\n",
    ),
    "--caller alice service restart service=nginx --facts pairs.txt": (0, "allowed: rule 'the web' allows it\n", ""),
    "--caller alice service restart service=nginx --facts list.yaml": (78, "", "list.yaml: must be a mapping of facts"),
    "--caller bob package status --config none.yaml": (78, "", "none.yaml: cannot be read: No such file"),
}


MISSPELT = "policy.yaml: rule '1': inputs: no action that it covers has an input 'servce' (did you mean 'service'?)"


def test_a_misspelt_input_is_reported(folder: Path, capsys: Captured) -> None:
    """`check` refuses a rule that names an input which no action has, and `test` denies what it should allow."""
    (folder / "policy.yaml").write_text("rules: [{agents: [service], inputs: {properties: {servce: {enum: [nginx]}}}}]")
    assert called(["policy", "check", "policy.yaml"], capsys) == (78, "", f"crpc: {MISSPELT}\n")
    words = ["policy", "test", "policy.yaml", "--caller", "bob", "service", "restart", "service=sshd"]
    code, out, err = called(words, capsys)
    why = "rule '1' names the input 'servce', which service restart does not have"
    assert (code, out) == (2, f"denied: no rule allows it ({why})\n")
    assert MISSPELT in err


def test_the_policy_of_this_node_is_checked_with_its_ddls(folder: Path, capsys: Captured) -> None:
    """An input that only an agent of this node has is known when the node's own policy is checked."""
    (folder / "ddl").mkdir()
    ddl = {
        "metadata": {"name": "site", "description": "Sites", "version": "1"},
        "actions": {
            "deploy": {
                "description": "Deploy",
                "input": {"type": "object", "properties": {"release": {"type": "string"}}},
                "output": {"type": "object"},
            }
        },
    }
    (folder / "ddl" / "site.json").write_text(json.dumps(ddl))
    (folder / "node.yaml").write_text("{collective: p, identity: web1, ddls: [ddl], policy: policy.yaml}")
    rule = "{agents: ['*'], inputs: {properties: {RELEASE: {pattern: '^v'}}}}"
    (folder / "policy.yaml").write_text(f"rules: [{rule.replace('RELEASE', 'release')}]")
    assert called(["policy", "check", "--config", "node.yaml"], capsys)[0] == 0
    assert called(["policy", "check", "policy.yaml"], capsys)[0] == 78
    (folder / "policy.yaml").write_text(f"rules: [{rule.replace('RELEASE', 'relese')}]")
    code, _, err = called(["policy", "check", "--config", "node.yaml"], capsys)
    assert (code, "(did you mean 'release'?)" in err) == (78, True)


def test_common_options_are_accepted_before_the_verb(folder: Path, capsys: Captured) -> None:
    """Common options before the verb apply to every verb, and are refused if they are given twice."""
    words = ["test", "policy.yaml", "package", "status", "--caller", "bob"]
    assert called(["policy", "-v", *words], capsys)[0] == 0
    for verb in (words, ["replay", "policy.yaml", "--audit", "audit.jsonl"]):
        code, _, err = called(["policy", "--config", "none.yaml", *verb], capsys)
        assert (code, "none.yaml: cannot be read: No such file" in err) == (78, True)
    code, _, err = called(["policy", "--config", "a.yaml", *words, "--config", "b.yaml"], capsys)
    assert (code, "--config given more than once" in err) == (64, True)


@pytest.mark.parametrize("line", REQUESTS)
def test_a_request_can_be_tested_against_a_policy(folder: Path, capsys: Captured, line: str) -> None:
    """The exit code is 0 if the policy allows the request and 2 if it denies it; the output names the rule."""
    code, out, message = REQUESTS[line]
    found = called(["policy", "test", "policy.yaml", *line.split()], capsys)
    assert found[:2] == (code, out)
    assert message in found[2]
    assert found[2].count("\n") == bool(message)


CHANGES = """
groups: {leads: [carol, dave]}
rules:
  - {name: night, agents: [service], between: "22:00-04:00 UTC", max_targets: 5}
  - {name: purge, agents: [package], reason: "CHG-[0-9]+.*", approvals: 2, approvers: ["group:leads"]}
  - {name: hourly, agents: [shell], max_targets_per_hour: 10}
"""


@pytest.mark.parametrize(
    ("line", "denied"),
    {
        "service restart service=x --time 2026-11-28T23:00+00:00 --targets 5": "",
        "service restart service=x --time 2026-11-28T03:59+00:00": "",
        "service restart service=x --time 2026-11-28T04:00+00:00": "no rule allows it now (rule 'night'",
        "service restart service=x --time 2026-11-28T23:00+00:00 --targets 6": "at most 5 nodes per call, not 6",
        "package purge package=x": "requires a reason that matches 'CHG-[0-9]+.*', and none was given",
        "package purge package=x --reason later": "requires a reason that matches 'CHG-[0-9]+.*', not 'later'",
        "package purge package=x --reason CHG-1": "requires 2 approvals by other callers, not 0",
        "package purge package=x --reason CHG-1 --approvals 2": "",
        "package purge package=x --reason CHG-1 --approver carol --approver dave": "",
        "package purge package=x --reason CHG-1 --approver carol --approver eve": "not 1 (the policy accepts no",
        "shell run command=true --targets 11": "at most 10 nodes per hour and caller, not 11",
    }.items(),
)
def test_requirements_can_be_tested(folder: Path, capsys: Captured, line: str, denied: str) -> None:
    """The time, the reason, the number of nodes and the approvals are options, as a node would know them."""
    (folder / "policy.yaml").write_text(CHANGES)
    code, out, _ = called(["policy", "test", "policy.yaml", "--caller", "bob", *line.split()], capsys)
    assert (code, out.startswith("denied" if denied else "allowed"), denied in out) == (
        2 if denied else 0,
        True,
        True,
    ), out


def test_a_valid_policy_passes_the_check(folder: Path, capsys: Captured) -> None:
    """`crpc policy check` prints the number of rules of a valid policy."""
    assert called(["policy", "check", "policy.yaml"], capsys) == (
        0,
        "policy.yaml: valid, 4 rules\n",
        "",
    )


@pytest.mark.parametrize("verb", [["check"], ["test", "--caller", "bob", "a", "b"], ["replay", "--audit", "x"]])
def test_each_error_in_a_policy_is_one_line(folder: Path, capsys: Captured, verb: list[str]) -> None:
    """Each error has file, line and rule; the exit code is 78."""
    (folder / "policy.yaml").write_text("rules:\n- agents: x\n- {callers: []}\n")
    code, out, err = called(["policy", verb[0], "policy.yaml", *verb[1:]], capsys)
    assert (code, out) == (78, "")
    assert err.splitlines() == [
        "crpc: policy.yaml:2: rule 1: agents: must be a list of strings, not 'x'",
        "crpc: policy.yaml:3: rule 2: callers: empty list (remove the key to match any)",
    ]


@pytest.fixture
def audit(folder: Path) -> Path:
    """Write an audit log of five requests, the last one without an outcome; return its path."""
    return write_audit(folder)


def test_recorded_requests_are_decided_again(audit: Path, capsys: Captured) -> None:
    """Replay lists the requests that are decided differently and those that are undecidable; the exit code is 2."""
    code, out, _ = called(["policy", "replay", "policy.yaml", "--audit", "audit.jsonl"], capsys)
    assert code == 2
    assert [line.partition(": ")[::2] for line in out.splitlines()] == [
        ("r1 bob package install", "was allowed by 'everything', now denied: no rule allows it"),
        (
            "r2 alice service restart",
            "was allowed by 'everything', undecidable: rule 'the web' allows it or no rule allows it",
        ),
        (
            "r4 alice shell run",
            "was allowed by 'everything', undecidable: rule 'data' allows it or rule 'no output' denies it",
        ),
        ("5 requests", "2 unchanged, 1 decided differently, 2 undecidable"),
    ]


def test_facts_of_the_node_decide_undecidable_requests(audit: Path, capsys: Captured) -> None:
    """The exit code is 3 if some requests are undecidable, and 0 if all are decided as before."""
    (audit.parent / "policy.yaml").write_text(
        "rules: [{callers: [carol], allow: false}, {facts: [env=prod]}, {facts: [env=test], allow: false}]"
    )
    replay = ["policy", "replay", "policy.yaml", "--audit", "audit.jsonl"]
    assert called(replay, capsys)[0] == 3
    assert called([*replay, "--facts", "facts.yaml"], capsys)[:2] == (
        0,
        "5 requests: 5 unchanged, 0 decided differently, 0 undecidable\n",
    )


# -- JSON documents


def test_policy_check_as_json(folder: Path, capsys: Captured) -> None:
    """The document has the number of rules of a valid policy, and the problems of an invalid one."""
    valid = json_document(["policy", "check", "policy.yaml"], capsys, 0)
    assert valid == {"file": "policy.yaml", "valid": True, "rules": 4, "problems": []}
    (folder / "policy.yaml").write_text("rules:\n- agents: x\n")
    invalid = json_document(["policy", "check", "policy.yaml"], capsys, 78)
    assert (invalid["valid"], len(invalid["problems"])) == (False, 1)
    assert invalid["problems"][0].startswith("policy.yaml:2: rule 1: agents: ")


def test_policy_test_as_json(folder: Path, capsys: Captured) -> None:
    """The document has the decision, the rule, the reason, and whether facts of the node could change the decision."""
    test = ["policy", "test", "policy.yaml", "--caller"]
    assert json_document([*test, "bob", "package", "status", "package=zsh"], capsys, 0) == {
        "allowed": True,
        "rule": "packages",
        "reason": "rule 'packages' allows it",
        "depends_on_node": False,
    }
    assert json_document([*test, "alice", "service", "restart", "service=nginx"], capsys, 2) == {
        "allowed": False,
        "rule": None,
        "reason": "no rule allows it",
        "depends_on_node": True,
    }


def test_policy_replay_as_json(audit: Path, capsys: Captured) -> None:
    """The document has the counts, and each request that is decided differently or is undecidable."""
    found = json_document(["policy", "replay", "policy.yaml", "--audit", "audit.jsonl"], capsys, 2)
    assert [found[name] for name in ("requests", "same", "different", "undecidable")] == [5, 2, 1, 2]
    assert [(one["request"], one["state"]) for one in found["changes"]] == [
        ("r1", "different"),
        ("r2", "undecidable"),
        ("r4", "undecidable"),
    ]
    assert found["changes"][0]["recorded"] == {"allowed": True, "rule": "everything"}
    assert found["changes"][0]["now"] == [{"allowed": False, "rule": None, "reason": "no rule allows it"}]


def test_explain_filter_as_json(folder: Path, capsys: Captured) -> None:
    """The document has the explanation, equivalent options, the filter, its data functions, and the given nodes."""
    (folder / "names").write_text("web1\nweb2\n")
    words = ["-F", "role=web", "-S", "fstat('/etc/hosts').size>1", "--nodes", "names"]
    found = json_document(["explain-filter", *words], capsys)
    assert found["explanation"] == [
        "nodes where all of these conditions hold:",
        "  fact role is 'web'",
        "  fstat('/etc/hosts').size is above '1'",
        "  evaluated on each node: fstat('/etc/hosts')",
    ]
    assert found["options"] == ["-F", "role=web", "-S", "fstat('/etc/hosts').size>1"]
    assert found["filter"]["facts"] == [{"fact": "role", "operator": "==", "value": "web"}]
    assert found["data_functions"] == [{"function": "fstat", "query": "/etc/hosts"}]
    assert found["nodes"] == ["web1", "web2"]


def test_on_a_node_its_own_files_are_the_default(
    folder: Path, audit: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`audit show`, `audit verify` and `policy check` read the files in node.yaml; elsewhere FILE is missing."""
    node = {"collective": "production", "identity": "web1", "audit": str(audit), "policy": str(folder / "policy.yaml")}
    (folder / "policy.yaml").write_text("rules: [{name: all}]")
    (folder / "node.yaml").write_text(json.dumps(node))
    for verbs, file in ((("audit", "show"), audit), (("policy", "check"), folder / "policy.yaml")):
        monkeypatch.setenv("COLLECTIVE_CONFIG", str(folder))
        given = called([*verbs, str(file)], capsys)
        assert given[0] == 0
        assert called(list(verbs), capsys) == given
        monkeypatch.setenv("COLLECTIVE_CONFIG", str(folder / "node.yaml"))
        assert called(list(verbs), capsys) == given
        monkeypatch.delenv("COLLECTIVE_CONFIG")
        monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "nothing"))
        code, out, err = called(list(verbs), capsys)
        assert (code, out) == (64, "")
        assert err == "crpc: FILE is missing (it can be omitted on a node only: there is no node.yaml here)\n"
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(folder))
    assert called(["audit", "verify"], capsys) == called(["audit", "verify", str(audit)], capsys)
