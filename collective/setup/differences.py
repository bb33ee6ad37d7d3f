"""Compare a resource with how it must be; each difference is described in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from collective.transport.resource_policies import same_policy


def policy_problems(found: str | None, required: Mapping[str, Any]) -> list[str]:
    """Compare a policy (JSON) with the required one; name the statements (Sid) that replacing it would remove."""
    policy = json.loads(found) if found else {}
    if same_policy(policy, required):
        return []
    lost = sorted(_sids(policy) - _sids(required))
    return [f"policy differs, statements to be removed: {', '.join(lost)}" if lost else "policy differs"]


def _sids(policy: Mapping[str, Any]) -> set[str]:
    statements = policy.get("Statement", [])
    # IAM user guide: a single statement need not be in a list.
    listed = statements if isinstance(statements, list) else [statements]
    return {statement.get("Sid") or "(no Sid)" for statement in listed}


def tag_problems(found: Mapping[str, str], required: Mapping[str, str]) -> list[str]:
    """Compare tags with the required ones; other tags are allowed."""
    missing = [f"{key}={value}" for key, value in required.items() if found.get(key) != value]
    return [f"missing tags: {', '.join(missing)}"] if missing else []


def to_tag_list(tags: Mapping[str, str]) -> Any:
    """Return tags in the form of SNS and DynamoDB."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def from_tag_list(tags: Any) -> dict[str, str]:
    """Return tags from the form of SNS and DynamoDB."""
    return {tag["Key"]: tag["Value"] for tag in tags}
