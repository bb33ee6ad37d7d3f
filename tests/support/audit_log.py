"""An audit log of five requests, the last one without an outcome."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from collective.audit import chain


def decision(number: int, caller: str, agent: str, action: str, **more: Any) -> dict[str, Any]:
    """Return a decision of an audit log; each is 10 s later than the one before."""
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
    """Return the outcome of a request in an audit log."""
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


def write_audit(folder: Path) -> Path:
    """Write the log to `audit.jsonl` in a folder; return its path."""
    lines: list[bytes] = []
    for entry in AUDIT:
        lines.append(chain.link(entry, chain.digest(lines[-1]) if lines else None))
    path = folder / "audit.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path
