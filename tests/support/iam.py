"""Evaluate IAM policies as far as conf/iam needs it: Allow, wildcards, variables and conditions.

    allow = IAMPolicy(json.loads(text))
    allow(IAMRequest("sqs:ReceiveMessage", "arn:aws:sqs:…", {"aws:ResourceTag/collective:identity": "web1", …}))

Rules are from the IAM user guide: "Policy evaluation logic", "Condition operators", "Variables and tags". Anything not
supported here raises an error, so that nothing is allowed by accident.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Context = Mapping[str, str | tuple[str, ...]]  # a tuple for a key with several values


@dataclass(frozen=True)
class IAMRequest:
    """A request: an IAM action, the ARN of its resource, and the context keys of AWS."""

    action: str
    resource: str
    context: Context = field(default_factory=dict)


@dataclass(frozen=True)
class IAMPolicy:
    """A policy document of Allow statements."""

    document: Mapping[str, Any]

    @property
    def grants(self) -> set[tuple[str, str]]:
        """The pairs of statement (Sid) and action."""
        return {(one["Sid"], action) for one in self.document["Statement"] for action in _list(one["Action"])}

    def __call__(self, request: IAMRequest) -> set[tuple[str, str]]:
        """Return the grants that allow a request; empty when it is denied."""
        return {(sid, action) for sid, action in self.grants if action == request.action and self._holds(sid, request)}

    def _holds(self, sid: str, request: IAMRequest) -> bool:
        [statement] = [one for one in self.document["Statement"] if one["Sid"] == sid]
        assert statement["Effect"] == "Allow", f"{sid}: only Allow is understood"
        if not any(_like(request.resource, pattern) for pattern in _list(statement["Resource"])):
            return False
        return all(
            _condition(operator, key, _list(expected), request.context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, expected in keys.items()
        )


def _condition(operator: str, key: str, expected: list[str], context: Context) -> bool:
    found = context.get(key)
    if operator == "Null":
        return expected == [str(found is None).lower()]
    if found is None:
        return operator.startswith("ForAllValues:") or operator.endswith("IfExists")
    plain = operator.removeprefix("ForAllValues:").removesuffix("IfExists")
    values = [value for value in (_fill(one, context) for one in expected) if value is not None]
    several = found if isinstance(found, tuple) else (found,)
    assert len(several) == 1 or operator.startswith("ForAllValues:"), f"{key}: has several values"
    return all(any(_matches(plain, one, value) for value in values) for one in several)


def _matches(operator: str, found: str, value: str) -> bool:
    return {"StringEquals": found == value, "StringLike": _like(found, value)}[operator]


def _fill(text: str, context: Context) -> str | None:
    """Return `text` with the values of its variables; None when a variable has no value, so that nothing matches."""
    names = re.findall(r"\$\{([^}]+)\}", text)
    if any(name not in context for name in names):
        return None
    return re.sub(r"\$\{([^}]+)\}", lambda match: str(context[match[1]]), text)


def _like(text: str, pattern: str) -> bool:
    assert "?" not in pattern, f"{pattern}: only * is understood"
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text) is not None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
