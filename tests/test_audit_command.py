"""Tests of `crpc audit` that need no node: its output and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.audit_log import write_audit
from support.crpc_call import called, json_document

from collective.audit import chain

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working folder, without a client.yaml."""
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path / "nowhere"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def audit(folder: Path) -> Path:
    """Write an audit log of five requests, the last one without an outcome; return its path."""
    return write_audit(folder)


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
def test_an_audit_log_can_be_searched(audit: Path, capsys: Captured, line: str) -> None:
    """Requests are selected by caller, agent, time and outcome; all conditions must match."""
    code, out, err = called(["audit", "show", "audit.jsonl", *line.split()], capsys)
    assert (code, err) == (0, "")
    assert [shown.split()[1] for shown in out.splitlines()] == SHOWN[line].split()


def test_a_request_is_shown_as_one_line(audit: Path, capsys: Captured) -> None:
    """The line has time, outcome, caller, call and rule; control characters in inputs are escaped."""
    out = called(["audit", "show", "audit.jsonl", "--outcome", "failed"], capsys)[1]
    assert out.splitlines() == [
        r"2026-09-10T00:26:50Z r1 status 1: bob package install package=zsh\x1b[2J\n (allowed, rule 'everything')",
        "2026-09-10T00:27:00Z r2 status 5 timeout: alice service restart service=nginx (allowed, rule 'everything')",
        "2026-09-10T00:27:10Z r3 status 1 denied: carol data_base dump password=******** (denied, no rule)",
    ]


def test_an_audit_log_can_be_shown_as_json(audit: Path, capsys: Captured) -> None:
    """`--json` prints one document, `--jsonl` one line per request; both have the decision and the outcome."""
    show = ["audit", "show", "audit.jsonl", "--agent", "package"]
    first, second = json_document(show, capsys)["requests"]
    assert [json.loads(line) for line in called([*show, "--jsonl"], capsys)[1].splitlines()] == [first, second]
    assert (first["decision"]["request"], first["outcome"]["statuscode"]) == ("r0", 0)
    assert second["decision"]["data"] == {"package": "zsh\x1b[2J\n"}


def test_an_audit_log_can_be_verified(audit: Path, capsys: Captured) -> None:
    """The exit code is 0 if the chain is unbroken; if not it is 2, and the output names file and line."""
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
    "verify": "FILE is missing (it can be omitted on a node only",
    "verify audit.jsonl --head abc": "invalid hash 'abc': use 64 hexadecimal digits",
    "show audit.jsonl --since soon": "invalid time 'soon': use ISO 8601",
    "show audit.jsonl --outcome good": "invalid choice: 'good'",
    "shown": "invalid choice: 'shown'",
    "": "the following arguments are required: show|verify",
}


@pytest.mark.parametrize("line", WRONG)
def test_a_usage_error_of_audit_is_one_line(folder: Path, capsys: Captured, line: str) -> None:
    """Wrong arguments of `crpc audit` are one line on standard error, exit code 64."""
    code, out, err = called(["audit", *line.split()], capsys)
    assert (code, out, err.count("\n")) == (64, "", 1)
    assert WRONG[line] in err


@pytest.mark.parametrize("verb", ["show", "verify"])
def test_an_audit_log_that_cannot_be_read_is_an_error(folder: Path, capsys: Captured, verb: str) -> None:
    """A missing audit log is one line with its path, exit code 78."""
    code, _, err = called(["audit", verb, "none.jsonl"], capsys)
    assert (code, err) == (78, "crpc: none.jsonl: cannot be read: No such file or directory\n")


def test_audit_verify_as_json(audit: Path, capsys: Captured) -> None:
    """The document has the state of the chain, its head, and a problem for each break."""
    head = chain.digest(audit.read_bytes().splitlines()[-1])
    whole = json_document(["audit", "verify", "audit.jsonl"], capsys, 0)
    assert whole == {"unbroken": True, "lines": 9, "head": head, "problems": [], "notes": []}
    lines = audit.read_bytes().splitlines(keepends=True)
    audit.write_bytes(b"".join([*lines[:3], *lines[4:]]))
    broken = json_document(["audit", "verify", "audit.jsonl"], capsys, 2)
    assert (broken["unbroken"], len(broken["problems"])) == (False, 1)
    assert broken["problems"][0].startswith("audit.jsonl:4: ")
