"""Approvals of a saved plan: other callers sign exactly what will be sent, and nodes verify all signatures offline.

    saved plan ─► document (agent, action, inputs, filter, nodes, time of a job, reason, caller, expiry)
                     └─► signed by each approver ─► in every request

It has the ID of the one run that is approved, how many requests of it a node may accept, and the hooks and gates. It is
part of the saved plan from the beginning, so that all approvers sign the same text.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from collective import bounded_json
from collective.errors import MessageError, UsageError
from collective.messages import APPROVAL_VALID, MAX_SKEW
from collective.signing import SignPayload

TYPE = "approval"  # of the document, so that its signature is not valid for a request
EXPIRES = APPROVAL_VALID


def document(plan: Mapping[str, Any], installation: str, expires: float) -> str:
    """Return the text that approvers sign for a saved plan; `expires` is in Unix seconds by the server's clock.

    Nodes compare all but `hooks` and `gates`, which they never see together with the action.
    """
    content = {
        "type": TYPE,
        "collective": plan["collective"],
        "installation": installation,
        "caller": plan["caller"],
        "agent": plan["agent"],
        "action": plan["action"],
        "data": plan["data"],
        "filter": plan["targets"]["filter"],
        "job": plan["background"],
        "reason": plan["reason"],
        "hooks": plan["hooks"],
        "gates": plan["gates"],
        "targets": sorted(name for wave in plan["waves"] for name in wave["nodes"]),
        "run": plan["run"],
        "uses": 1 + plan["pace"].get("retry", 0),
        "expires": expires,
    }
    return json.dumps(content, separators=(",", ":"), sort_keys=True)


def approve(plan: Mapping[str, Any], caller: str, sign: SignPayload) -> dict[str, Any]:
    """Return a saved plan with the signature of `caller`. Raise UsageError when it cannot be approved.

    What is signed must be what the plan shows: a plan whose document says something else is refused.
    """
    text = plan["approval"]["document"]
    content = read_document(text)
    if text != document(plan, content["installation"], content["expires"]):
        raise UsageError("the approval document differs from the plan: it may have been manipulated (make a new plan)")
    if content["expires"] > time.time() + APPROVAL_VALID + MAX_SKEW:
        raise UsageError("the approval would be valid for more than a day (make a new plan)")
    if caller == plan["caller"]:
        raise UsageError(f"'{caller}' has made this plan, and cannot approve it (another caller must)")
    given = plan["approval"]["signatures"]
    if caller in given:
        raise UsageError(f"'{caller}' has approved this plan already")
    signature = sign(text)
    if signature is None:
        raise UsageError("an approval needs a key (client.yaml: key)")
    return {**plan, "approval": {"document": text, "signatures": {**given, caller: signature}}}


def expires(plan: Mapping[str, Any]) -> float:
    """Return when the approvals of a saved plan expire, in Unix seconds; 0 if its document cannot be read."""
    try:
        return float(read_document(plan["approval"]["document"])["expires"])
    except UsageError:
        return 0.0


def approved_run(approvals: Mapping[str, Any]) -> str:
    """Return the ID of the run that approvals are for, which all of its requests name."""
    return str(read_document(approvals["document"])["run"])


def read_document(text: str) -> dict[str, Any]:
    """Return the content of a document; raise UsageError when it is not one."""
    try:
        content: dict[str, Any] = bounded_json.parse(text, TYPE)
        valid = isinstance(content, dict) and content["type"] == TYPE and isinstance(content["installation"], str)
        if valid and isinstance(content["expires"], (int, float)) and isinstance(content["run"], str):
            return content
    except (MessageError, KeyError):
        pass
    raise UsageError("the approval document cannot be read (make a new plan)")
