"""Output and exit codes of `crpc policy` and `crpc audit` without a node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.crpc_call import called

from collective.audit import chain

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
    """A working folder with policy, facts and classes, and no client.yaml."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "facts.yaml").write_text("env: prod")
    (tmp_path / "classes.txt").write_text("web\nrole::db")
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path / "nowhere"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Arguments of `crpc policy test`; exit code, standard output, and a part of standard error.
QUESTIONS: dict[str, tuple[int, str, str]] = {
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
        "crpc: this depends on the node: its --facts and --classes are taken to be none\n",
    ),
    "--caller bob data fstat query=/etc/hosts": (
        0,
        "allowed: rule 'data' allows it\n",
        "crpc: there is no DDL of 'data fstat' here: its inputs are taken as text\n",
    ),
    "--caller bob rspec action": (2, "denied: no rule allows it\n", ""),
    "--caller bob package": (64, "", "agent and action are missing"),
    "package status": (64, "", "--caller"),
    "--caller bob package status zsh": (64, "", "'zsh': inputs are given as KEY=VALUE"),
    "--caller bob rspec action zsh": (64, "", "'zsh': inputs are given as KEY=VALUE"),
    "--caller bob package status pakage=zsh": (64, "", "there is no input 'pakage'"),
    "--caller bob package status --facts none.yaml": (78, "", "none.yaml: cannot be read: No such file"),
    "--caller bob package status --facts classes.txt": (64, "", "--facts classes.txt: must hold keys and values"),
    "--caller bob package status --config none.yaml": (78, "", "none.yaml: cannot be read: No such file"),
}


def test_common_options_are_accepted_before_the_verb(folder: Path, capsys: Captured) -> None:
    """They apply to `test` too, which parses its arguments separately; a repeated option is an error."""
    words = ["test", "policy.yaml", "package", "status", "--caller", "bob"]
    assert called(["policy", "-v", *words], capsys)[0] == 0
    for verb in (words, ["replay", "policy.yaml", "--audit", "audit.jsonl"]):
        code, _, err = called(["policy", "--config", "none.yaml", *verb], capsys)
        assert (code, "none.yaml: cannot be read: No such file" in err) == (78, True)
    code, _, err = called(["policy", "--config", "a.yaml", *words, "--config", "b.yaml"], capsys)
    assert (code, "--config given more than once" in err) == (64, True)


@pytest.mark.parametrize("line", QUESTIONS)
def test_policy_test_prints_the_decision(folder: Path, capsys: Captured, line: str) -> None:
    """The exit code is 0 for allowed and 2 for denied; the output has the rule, and a warning for missing data."""
    code, out, message = QUESTIONS[line]
    found = called(["policy", "test", "policy.yaml", *line.split()], capsys)
    assert found[:2] == (code, out)
    assert message in found[2]
    assert found[2].count("\n") == bool(message)


def test_policy_check_accepts_a_valid_policy(folder: Path, capsys: Captured) -> None:
    """The output has the number of rules."""
    assert called(["policy", "check", "policy.yaml"], capsys) == (
        0,
        "policy.yaml: nothing is wrong with its 4 rules\n",
        "",
    )


@pytest.mark.parametrize("verb", [["check"], ["test", "--caller", "bob", "a", "b"], ["replay", "--audit", "x"]])
def test_each_error_of_a_policy_is_a_line(folder: Path, capsys: Captured, verb: list[str]) -> None:
    """Each line has file, line number and rule; the exit code is 78."""
    (folder / "policy.yaml").write_text("rules:\n- agents: x\n- {callers: []}\n")
    code, out, err = called(["policy", verb[0], "policy.yaml", *verb[1:]], capsys)
    assert (code, out) == (78, "")
    assert err.splitlines() == [
        "crpc: policy.yaml:2: rule 1: agents: must be a list of strings, not 'x'",
        "crpc: policy.yaml:3: rule 2: callers: empty list (remove the key to match any)",
    ]


def decision(number: int, caller: str, agent: str, action: str, **more: Any) -> dict[str, Any]:
    """Return decision number `number` of an audit log, ten seconds after the previous one."""
    return {
        "event": "decision",
        "time": 1_789_000_000 + 10 * number,
        "request": f"r{number}",
        "caller": caller,
        "agent": agent,
        "action": action,
        "data": {},
        "asks": [],
        "verdict": "allowed",
        "rule": "everything",
        **more,
    }


def outcome(number: int, statuscode: int, reason: str | None = None) -> dict[str, Any]:
    return {"event": "outcome", "request": f"r{number}", "statuscode": statuscode, "reason": reason}


AUDIT = [
    decision(0, "bob", "package", "status", data={"package": "zsh"}),
    outcome(0, 0),
    decision(1, "bob", "package", "install", data={"package": "zsh\x1b[2J\n"}),
    outcome(1, 1),
    decision(2, "alice", "service", "restart", data={"service": "nginx"}),
    outcome(2, 5, "timeout"),
    decision(3, "carol", "data_base", "dump", data={"password": "********"}, verdict="denied", rule=None),
    outcome(3, 1, "denied"),
    decision(4, "alice", "shell", "run", data={"command": "true", "stdin": "********"}),
]


@pytest.fixture
def audit(folder: Path) -> Path:
    """An audit log of five requests, the last one without an outcome."""
    lines: list[bytes] = []
    for entry in AUDIT:
        lines.append(chain.link(entry, chain.digest(lines[-1]) if lines else None))
    path = folder / "audit.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def test_recorded_requests_are_decided_again(audit: Path, capsys: Captured) -> None:
    """Different and undecidable requests are listed; the exit code is 2 because some differ."""
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
        ("5 requests", "2 as before, 1 decided differently, 2 undecidable"),
    ]


def test_facts_of_the_node_make_requests_decidable(audit: Path, capsys: Captured) -> None:
    """The exit code is 0 if all decisions are the same, and 3 if some are undecidable and none differs."""
    (audit.parent / "policy.yaml").write_text(
        "rules: [{callers: [carol], allow: false}, {facts: [env=prod]}, {facts: [env=test], allow: false}]"
    )
    replay = ["policy", "replay", "policy.yaml", "--audit", "audit.jsonl"]
    assert called(replay, capsys)[0] == 3
    assert called([*replay, "--facts", "facts.yaml"], capsys)[:2] == (
        0,
        "5 requests: 5 as before, 0 decided differently, 0 undecidable\n",
    )


SHOWN = {
    "": "r0 r1 r2 r3 r4",
    "--caller bob": "r0 r1",
    "--caller [ac]*": "r2 r3 r4",
    "--agent service": "r2",
    "--since 2026-09-10T01:46:40": "",
    "--since 2026-09-10T00:26:50Z": "r1 r2 r3 r4",
    "--since 2026-09-10T02:26:50+02:00 --until 2026-09-10T00:27:00": "r1 r2",
    "--since 1s": "",
    "--outcome ok": "r0",
    "--outcome failed": "r1 r2 r3",
    "--outcome denied": "r3",
    "--outcome timeout": "r2",
    "--outcome unanswered": "r4",
    "--outcome failed --caller alice": "r2",
}


@pytest.mark.parametrize("line", SHOWN)
def test_audit_show_filters_records(audit: Path, capsys: Captured, line: str) -> None:
    """Records are filtered by caller, agent, time and outcome; all must match."""
    code, out, err = called(["audit", "show", "audit.jsonl", *line.split()], capsys)
    assert (code, err) == (0, "")
    assert [shown.split()[1] for shown in out.splitlines()] == SHOWN[line].split()


def test_a_record_is_one_printable_line(audit: Path, capsys: Captured) -> None:
    """A line has caller, request, outcome and rule; control characters in inputs are escaped."""
    out = called(["audit", "show", "audit.jsonl", "--outcome", "failed"], capsys)[1]
    assert out.splitlines() == [
        r"2026-09-10T00:26:50Z r1 status 1: bob package install package=zsh\x1b[2J\n (allowed, rule 'everything')",
        "2026-09-10T00:27:00Z r2 status 5 timeout: alice service restart service=nginx (allowed, rule 'everything')",
        "2026-09-10T00:27:10Z r3 status 1 denied: carol data_base dump password=******** (denied, no rule)",
    ]


def test_audit_show_prints_json(audit: Path, capsys: Captured) -> None:
    """There is a JSON object per request, with its decision and outcome."""
    out = called(["audit", "show", "audit.jsonl", "--json", "--agent", "package"], capsys)[1]
    first, second = map(json.loads, out.splitlines())
    assert (first["decision"]["request"], first["outcome"]["statuscode"]) == ("r0", 0)
    assert second["decision"]["data"] == {"package": "zsh\x1b[2J\n"}


def test_audit_verify_checks_the_chain(audit: Path, capsys: Captured) -> None:
    """The exit code is 0 for an unbroken chain and 2 for a broken one, whose error is printed."""
    head = chain.digest(audit.read_bytes().splitlines()[-1])
    verify = ["audit", "verify", "audit.jsonl"]
    assert called([*verify, "--head", head], capsys) == (0, f"9 lines, unbroken, head {head}\n", "")
    lines = audit.read_bytes().splitlines(keepends=True)
    audit.write_bytes(b"".join(lines[:-1]))
    assert called(verify, capsys)[0] == 0
    code, out, _ = called([*verify, "--head", head], capsys)
    assert code == 2
    assert out.startswith(f"audit.jsonl: truncated: no line with the hash {head}\n8 lines, broken, ")


WRONG = {
    "verify": "the following arguments are required: FILE",
    "verify audit.jsonl --head abc": "'abc' is no hash: 64 hexadecimal digits",
    "show audit.jsonl --since soon": "'soon' is no time",
    "show audit.jsonl --outcome good": "invalid choice: 'good'",
    "shown": "invalid choice: 'shown'",
    "": "the following arguments are required: show|verify",
}


@pytest.mark.parametrize("line", WRONG)
def test_a_usage_error_is_one_line(folder: Path, capsys: Captured, line: str) -> None:
    """The exit code is 64."""
    code, out, err = called(["audit", *line.split()], capsys)
    assert (code, out, err.count("\n")) == (64, "", 1)
    assert WRONG[line] in err


@pytest.mark.parametrize("verb", ["show", "verify"])
def test_an_unreadable_audit_log_is_reported(folder: Path, capsys: Captured, verb: str) -> None:
    """The exit code is 78, and the error has the path."""
    code, _, err = called(["audit", verb, "none.jsonl"], capsys)
    assert (code, err) == (78, "crpc: none.jsonl: cannot be read: No such file or directory\n")
