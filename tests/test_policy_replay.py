"""Recorded requests are decided again by another policy."""

from __future__ import annotations

from typing import Any

import pytest

from collective.audit.cutting import cut_data
from collective.audit.records import Record
from collective.policy import Policy
from collective.policy.parsing import parse
from collective.policy.replay import DescribedActions, replay

AS_RECORDED = DescribedActions(lambda _agent, _action, data: data)


def record(verdict: str = "allowed", **more: Any) -> Record:
    """Return the audit record of a request by alice for `service restart`."""
    entry = {"caller": "alice", "agent": "service", "action": "restart", "data": {}, "asks": [], "verdict": verdict}
    return Record({**entry, **more}, None)


NGINX = {"required": ["service"], "properties": {"service": {"enum": ["nginx"]}}}


REPLAYS = {
    "the same": ("[{agents: [service]}]", record(), "same"),
    "denied again": ("[]", record("denied"), "same"),
    "now denied": ("[]", record(), "different"),
    "now allowed": ("[{}]", record("denied"), "different"),
    "what was invalid was allowed": ("[{}]", record("invalid"), "same"),
    "an input that matches": (f"[{{inputs: {NGINX}}}]", record(data={"service": "nginx"}), "same"),
    "an input that does not": (f"[{{inputs: {NGINX}}}]", record(data={"service": "sshd"}), "different"),
    "a masked input that matters": (f"[{{inputs: {NGINX}}}]", record(data={"service": "********"}), "undecidable"),
    "a masked input that does not": (
        f"[{{inputs: {NGINX}}}]",
        record(data={"service": "nginx", "token": "********"}),
        "same",
    ),
    "a masked input under another keyword": (
        f"[{{inputs: {{allOf: [{NGINX}]}}}}]",
        record(data={"service": "nginx", "token": "********"}),
        "undecidable",
    ),
    "a masked input with the same verdict either way": (
        f"[{{inputs: {NGINX}}}, {{}}]",
        record(data={"service": "********"}),
        "same",
    ),
    "a cut input that matters": (
        f"[{{inputs: {NGINX}}}]",
        record(data=cut_data({"service": "x" * 2000})),
        "undecidable",
    ),
    "more inputs than were written": (
        f"[{{inputs: {NGINX}}}]",
        record(data=cut_data({"service": "nginx", "n" * 9000: 1})),
        "undecidable",
    ),
    "unknown facts that matter": ("[{facts: [role=web]}]", record(), "undecidable"),
    "unknown facts that do not matter": ("[{facts: [role=web]}, {}]", record(), "same"),
    "a data function": ("[{agents: [service]}]", record(asks=[["fstat", "/etc/hosts"]]), "different"),
    "a data function that is allowed": ("[{agents: [service, data]}]", record(asks=[["fstat", "/etc"]]), "same"),
}


@pytest.mark.parametrize("name", REPLAYS)
def test_a_recorded_request_is_decided_again(name: str) -> None:
    """Masked or unknown data makes a request undecidable only if the verdict depends on it."""
    rules, recorded, state = REPLAYS[name]
    policy = parse(f"rules: {rules}", "policy.yaml")
    (replayed,) = replay(policy, [recorded], None, AS_RECORDED)
    assert replayed.state == state


def test_requests_that_no_policy_decided_are_not_replayed() -> None:
    """An expired request and a duplicate are rejected before the policy is evaluated."""
    records = [record("refused"), record("duplicate")]
    assert list(replay(Policy([]), records, None, AS_RECORDED)) == []
