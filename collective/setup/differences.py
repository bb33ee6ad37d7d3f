"""Compare what is there with what should be: a list of differences in words, empty when there are none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from collective.transport.resource_policies import same_policy


def policy_fault(found: str | None, ours: Mapping[str, Any]) -> list[str]:
    """Compare a policy (JSON) with ours, which would replace all of it; name by their Sids the statements that go."""
    policy = json.loads(found) if found else {}
    if same_policy(policy, ours):
        return []
    lost = sorted(_sids(policy) - _sids(ours))
    return [f"its policy is another{': it would lose ' if lost else ''}{', '.join(lost)}"]


def _sids(policy: Mapping[str, Any]) -> set[str]:
    statements = policy.get("Statement", [])
    listed = statements if isinstance(statements, list) else [statements]  # IAM guide: one need not be in a list
    return {statement.get("Sid") or "a statement without Sid" for statement in listed}


def tags_fault(found: Mapping[str, str], ours: Mapping[str, str]) -> list[str]:
    """Compare tags with ours; others may stand beside them."""
    missing = [f"{key}={value}" for key, value in ours.items() if found.get(key) != value]
    return [f"not tagged {', '.join(missing)}"] if missing else []


def listed(tags: Mapping[str, str]) -> Any:
    """Return tags as SNS and DynamoDB take them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def unlisted(tags: Any) -> dict[str, str]:
    """Return tags as SNS and DynamoDB list them, by their keys."""
    return {tag["Key"]: tag["Value"] for tag in tags}
