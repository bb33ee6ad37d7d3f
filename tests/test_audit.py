"""The audit: two JSON lines for each request, or no action."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from test_messages import REPLY, REQUEST

from collective.errors import Failed
from collective.node.audit import Audit


def test_a_request_leaves_two_lines(tmp_path: Path) -> None:
    """What was decided, and what came of it, with the id that ties them together."""
    audit = Audit(tmp_path / "audit.jsonl", clock=lambda: 5.0)
    audit.decision(REQUEST, {"package": "zsh"}, "allowed", "operators")
    audit.outcome(REPLY)
    decision, outcome = map(json.loads, (tmp_path / "audit.jsonl").read_text().splitlines())
    assert decision == {
        "event": "decision",
        "time": 5.0,
        "request": REQUEST.id,
        "caller": "alice@example.com",
        "sender": "laptop-7",
        "agent": "package",
        "action": "install",
        "data": {"package": "zsh"},
        "verdict": "allowed",
        "rule": "operators",
    }
    assert outcome == {
        "event": "outcome",
        "time": 5.0,
        "request": REQUEST.id,
        "statuscode": 0,
        "reason": None,
        "elapsed_ms": 912.4,
    }


def test_what_was_written_before_stays(tmp_path: Path) -> None:
    """A new daemon appends."""
    path = tmp_path / "audit.jsonl"
    path.write_text("before\n")
    Audit(path).outcome(REPLY)
    assert path.read_text().startswith("before\n{")


def test_nobody_can_forge_a_line(tmp_path: Path) -> None:
    """Whatever the inputs say, a decision is one line of ASCII."""
    path = tmp_path / "audit.jsonl"
    Audit(path).decision(REQUEST, {"a": 'x\n{"event": "decision"}\u2028\x1b[2J'}, "denied", None)
    (line,) = path.read_bytes().splitlines()
    assert line.isascii()
    assert b"\x1b" not in line


@pytest.mark.parametrize("place", ["folder", "missing/audit.jsonl"])
def test_what_cannot_be_audited_is_not_done(tmp_path: Path, place: str) -> None:
    """A decision that cannot be written ends the request, and says where."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(Failed, match=rf"audit .*{place}: cannot be written: ") as caught:
        Audit(tmp_path / place).decision(REQUEST, {}, "allowed", "x")
    assert caught.value.reason == "crashed"


def test_lines_of_several_threads_do_not_mix(tmp_path: Path) -> None:
    """Each line is whole, however many write at once."""
    path = tmp_path / "audit.jsonl"
    audit = Audit(path)

    def write() -> None:
        for _ in range(50):
            audit.decision(REQUEST, {"a": "x" * 2000}, "allowed", None)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == 200
