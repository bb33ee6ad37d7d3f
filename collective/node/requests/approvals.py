"""Verify the approvals in a request: signatures of other callers on exactly what it asks for.

The document that they signed must name the run, the collective, the caller, the agent, the action, the same inputs,
filter and reason, the same time of a background job and all nodes of the request, and must not have expired. Each
approver and each key counts once, and the caller's own does not count. A node accepts as many requests of the run as
the document allows: one, and its retries.
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
MOST_REQUESTS = 101  # to one node, with its retries
_SAME = ("collective", "installation", "caller", "agent", "action", "data", "filter", "job", "reason")


@dataclass(frozen=True)
class Approvals:
    """The callers that have approved a request, and why others do not count, in one line."""

    callers: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class ApprovedRun:
    """The run that a document approves, for how many requests to a node, and until when in Unix seconds.

    `run` begins with the caller: another one may name the same run in a document of its own.
    """

    run: str
    uses: int
    expires: float


def approved_run(request: Request) -> ApprovedRun:
    """Return what the document of a request with valid approvals allows."""
    assert request.approvals is not None  # noqa: S101 - it has valid ones
    content = bounded_json.parse(str(request.approvals["document"]), "approval")
    return ApprovedRun(f"{request.caller} {content['run']}", content["uses"], content["expires"])


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
    if content.get("run") != (request.run or request.id):
        return "the approvals are for another run"
    uses = content.get("uses")
    if type(uses) is not int or not 1 <= uses <= MOST_REQUESTS:
        return f"the approved number of requests is not from 1 to {MOST_REQUESTS}"
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
