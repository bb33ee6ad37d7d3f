"""What documents show as output is exactly what the code prints; commands in a lab: tests/e2e/test_readme.py."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import pytest
from support.crpc_call import Captured, called
from support.documents import DOCS, ROOT, blocks
from support.rendering import make_call, make_reply
from support.views import printed

from collective.audit.records import Record
from collective.catalog import Catalog
from collective.clients.commands import audit, watch
from collective.clients.render.progress import bar_line
from collective.fleet.progress import CallProgress
from collective.membership.members import Event, Member
from collective.nodesets import unfold

FULL = ["web007.my.net", "web034.my.net", "web061.my.net", "web088.my.net"]
WATCHED = re.compile(r"(\S+) (\S+) +(web\S+) +(\S+)  (web)(?:  (.*))?")
AUDITED = re.compile(r"(\S+) ([0-9a-f]{32}) (.*): (\S+) (\S+) (\S+) (\w+)=(\w+) \((\w+), rule '(.*)'\)")


def shown(name: str, language: str, beginning: str) -> str:
    """Return the block of a document that begins with some words, without its command."""
    found = [block for block in blocks((DOCS / name).read_text(), language) if block.startswith(beginning)]
    assert len(found) == 1
    return found[0].partition("\n")[2] if beginning.startswith("$") else found[0]


def seconds(text: str) -> float:
    """Return a time of a log in Unix seconds."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def test_the_four_failed_hosts_of_five_hundred() -> None:
    """The default view of the document on results."""
    action = Catalog().action("nrpe", "runcommand")
    output = "DISK CRITICAL - free space: / 24 MB (0% inode=86%);"
    replies = [
        make_reply(node, {"exitcode": 2, "output": output, "perfdata": f"/={node}"}, 1, statusmsg="CRITICAL")
        if node in FULL
        else make_reply(node, {"exitcode": 0, "output": "DISK OK", "perfdata": "/=1"})
        for node in unfold("web[001-500].my.net")
    ]
    call = make_call(action, replies, total_ms=2345.6, discovery_ms=0.0)
    lines = [line.rstrip() for line in printed(call).strip("\n").splitlines()]
    assert lines == shown("how-to/read-results.md", "text", "web[").splitlines()


def test_the_bar_that_names_the_last_nodes() -> None:
    """The bar names them on a terminal of 100 columns, and has their number on a narrow one."""
    progress = CallProgress(total=47, ok=44, failed=1, running=2, awaited=("web07.my.net", "web12.my.net"))
    assert bar_line(progress, 100).strip("\r") == shown("how-to/read-results.md", "text", " | [").rstrip("\n")


def test_the_events_of_a_watch() -> None:
    """The lines of the document on watching, made from their own values."""
    lines = shown("how-to/watch.md", "console", "$ crpc watch").splitlines(keepends=True)
    for number, line in enumerate(lines):
        match = WATCHED.fullmatch(line.rstrip("\n"))
        assert match
        time, kind, name, address, role, reason = match.groups()
        member = Member(name, addresses=(address,), facts={"role": role})
        assert watch._text(Event(number, kind, seconds(time), member, reason=reason or "")) == line  # noqa: SLF001
    assert len(lines) == 4


def test_the_lines_of_an_audit_log() -> None:
    """The lines of the document on audit logs, made from their own values; the rule is the one of a lab."""
    lines = shown("how-to/audit.md", "console", "$ crpc audit show").splitlines()
    for line in lines:
        match = AUDITED.fullmatch(line)
        assert match
        time, request, outcome, caller, agent, action, name, value, verdict, rule = match.groups()
        call = {"request": request, "caller": caller, "agent": agent, "action": action, "data": {name: value}}
        decision = {"time": seconds(time), **call, "verdict": verdict, "rule": rule}
        code = 0 if outcome == "ok" else int(outcome.removeprefix("status "))
        assert audit.shown(Record(decision, {"statuscode": code})) == line
        assert rule == "operator of the lab"
    assert len(lines) == 2


def test_the_mistyped_input_of_a_playbook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    """The shipped playbook with the mistake that the document shows."""
    text = (ROOT / "conf" / "playbooks" / "rolling-restart.yaml").read_text()
    mistaken = text.replace("Restart {{ inputs.service }} on", "Restart {{ inputs.servise }} on")
    (tmp_path / "restart.yaml").write_text(mistaken)
    (tmp_path / "client.yaml").write_text("collective: lab\ncaller: operator@lab\n")
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    code, out, err = called(["playbook", "run", "./restart.yaml", "service=nginx"], capsys)
    assert (code, out) == (78, "")
    assert err == shown("how-to/playbooks.md", "console", "$ crpc playbook run ./restart.yaml")
