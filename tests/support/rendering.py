"""Helpers for tests of results: make actions, replies and finished calls from a few values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collective import ddl
from collective.ddl import Action
from collective.fleet.outcomes import Outcomes
from collective.messages import Reply

CASES = Path(__file__).parents[1] / "cases"
REQUEST = "0123456789abcdef0123456789abcdef"


def make_action(
    outputs: Mapping[str, Mapping[str, Any]] | None = None,
    aggregate: Iterable[Mapping[str, Any]] = (),
    *,
    inputs: Mapping[str, Any] | None = None,
    required: Iterable[str] = (),
    **more: Any,
) -> Action:
    """Return the action `package install` with these schemas."""
    body = {
        "description": "Install a package",
        "input": {"type": "object", "properties": dict(inputs or {}), "required": list(required)},
        "output": {"type": "object", "properties": dict(outputs or {})},
        "aggregate": list(aggregate),
        **more,
    }
    metadata = {"name": "package", "description": "Manage packages", "version": "1.0.0"}
    return ddl.parse({"metadata": metadata, "actions": {"install": body}}).actions["install"]


def titled(titles: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return output schemas with titles only."""
    return {name: {"title": title} for name, title in titles.items()}


def make_reply(sender: str, data: Mapping[str, Any] | None = None, statuscode: int = 0, **more: Any) -> Reply:
    """Return a reply of `sender`; `more` are further members of Reply."""
    members = {"statusmsg": "OK" if statuscode == 0 else "no", "time": 1.0, "elapsed_ms": 41.25, **more}
    return Reply(REQUEST, "0" * 64, sender, "package", "install", statuscode, data=dict(data or {}), **members)


@dataclass(frozen=True)
class FinishedCall:
    """A finished call, as seen by the renderers."""

    action: Action
    outcomes: Outcomes
    request_id: str = REQUEST
    agent: str = "package"
    collective: str = "production"
    caller: str = "alice@example.com"
    started: float = 1789000000.0
    discovery_ms: float = 2000.0
    total_ms: float = 2100.0
    stopped: str = ""
    cut_short: bool = False
    dry_run: bool = False

    @property
    def request_ids(self) -> list[str]:
        """The ids of all its requests."""
        return [self.request_id]


def make_call(
    action: Action, replies: Iterable[Reply] = (), *, expected: Iterable[str] | None = None, **more: Any
) -> FinishedCall:
    """Return a call with `replies`; by default exactly their senders are expected."""
    given = list(replies)
    outcomes = Outcomes([reply.sender for reply in given] if expected is None else expected)
    for reply in given:
        outcomes.record(reply)
    return FinishedCall(action, outcomes, **more)


def load(group: str) -> list[dict[str, Any]]:
    """Return the cases in one folder, one per file."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted((CASES / group).glob("*.json"))]


def varied_call() -> FinishedCall:
    """Return a call with unusual replies and nodes in every outcome."""
    token = {"title": "Token", "writeOnly": True}
    outputs: dict[str, Mapping[str, Any]] = {**titled({"ensure": "Ensure", "size": "Size"}), "token": token}
    functions = [("summary", "ensure"), ("average", "size"), ("min", "token"), ("sum", "size")]
    action = make_action(outputs, [{"function": name, "output": output} for name, output in functions])
    call = make_call(
        action,
        [
            make_reply("web2", {"ensure": "1.0", "size": 3, "token": "s3cret"}),
            make_reply("web1", {"ensure": None, "size": "much"}, 1, statusmsg="no\x1b[2J\nroom"),
            make_reply("stray", {"ensure": ["a", "b"], "zzz": {"k": [1, None]}}, 5, reason="timeout"),
            make_reply("web3", {"ensure": "x\r\ny\ud800", "size": 1.5}),
        ],
        expected=["web1", "web2", "web3", "web4", "web5", "web6"],
    )
    call.outcomes.skip(["web5"])
    call.outcomes.reject("web6")
    call.outcomes.reject("evil\x1b[31m name")
    return call
