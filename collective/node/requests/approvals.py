"""Verify the approvals in a request: signatures of other callers on exactly what it asks for.

The document that they signed must name the collective, the caller, the agent, the action, the same inputs and all nodes
of the request, and must not have expired. Each approver and each key counts once, and the caller's own does not count.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from collective import bounded_json, signing
from collective.errors import MessageError
from collective.messages import APPROVAL_VALID, MAX_SKEW, Request

MOST_SIGNATURES = 20  # that are verified for one request
_SAME = ("collective", "installation", "caller", "agent", "action", "data")


@dataclass(frozen=True)
class Approvals:
    """The callers that have approved a request, and why others do not count, in one line."""

    callers: tuple[str, ...] = ()
    problem: str = ""


class ApprovalVerifier:
    """Verifies approvals with the keys that the node trusts."""

    def __init__(self, verify: signing.VerifyPayload) -> None:
        self._verify = verify

    def approvals(self, request: Request, fingerprint: str | None, now: float) -> Approvals:
        """Return the valid approvals; `fingerprint` is that of the caller's key, `now` is in Unix seconds."""
        if request.approvals is None:
            return Approvals()
        text = str(request.approvals["document"])
        if problem := _mismatch(text, request, now):
            return Approvals(problem=problem)
        callers: dict[str, str | None] = {}
        problems = []
        for caller, signature in _signatures(request.approvals):
            try:
                key = self._verify(text, signature, caller, now)
            except MessageError as error:
                problems.append(f"the approval of '{caller}' is not valid: {error}")
                continue
            if caller == request.caller or (key is not None and key == fingerprint):
                problems.append(f"the approval of '{caller}' is the caller's own")
            elif key is not None and key in callers.values():
                problems.append(f"the approval of '{caller}' has the same key as another")
            else:
                callers[caller] = key
        return Approvals(tuple(callers), "; ".join(problems))


def _signatures(approvals: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for caller, signature in islice(approvals["signatures"].items(), MOST_SIGNATURES):
        yield caller, str(signature)


def _mismatch(text: str, request: Request, now: float) -> str:
    """Return how the approved document differs from the request; an empty string if it does not."""
    try:
        content = bounded_json.parse(text, "approval")
    except MessageError as error:
        return str(error)
    if not isinstance(content, dict) or content.get("type") != "approval":
        return "the approved document is not one"
    for name in _SAME:
        if _text(content.get(name)) != _text(getattr(request, name)):
            return f"the approved {name} is not that of the request"
    named, expires = content.get("targets"), content.get("expires")
    if request.targets is None or not isinstance(named, list) or not set(request.targets) <= set(named):
        return "the request has nodes that were not approved"
    if not isinstance(expires, (int, float)) or now > expires:
        return "the approvals have expired"
    if expires > now + APPROVAL_VALID + MAX_SKEW:
        return "the approvals are valid for more than a day"
    return ""


def _text(value: Any) -> str:
    """Return a value as JSON: in Python, true is equal to 1, and an approval of one is not an approval of the other."""
    return json.dumps(value, sort_keys=True)
