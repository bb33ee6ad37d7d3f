"""Read facts about this instance from the APIs of EC2, Auto Scaling and Elastic Load Balancing.

The runner imports this file in a process of its own, like an agent: botocore's description of EC2 alone takes 40 MB,
which the daemon then does not keep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from collective.agent import Reply
from collective.aws.credentials import new_session
from collective.aws.errors import translated
from collective.aws.session import AWS
from collective.errors import CollectiveError, ConfigError
from collective.parallel import in_parallel

MOST_TARGET_GROUPS = 100  # whose targets are read: each takes a request
_DRAINING = "draining"


def describe(instance: str, region: str, wanted: Sequence[str]) -> Reply:
    """Return the `facts` in `wanted` that can be read, and a line in `errors` for each other one."""
    facts, errors = read_facts(AWS(new_session(region=region)), instance, wanted)
    return {"facts": facts, "errors": errors}


def read_facts(aws: AWS, instance: str, wanted: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Return the facts that can be read, and a line for each other one."""
    facts: dict[str, Any] = {}
    errors: list[str] = []
    for name in wanted:
        try:
            facts[name] = _READ[name](aws, instance)
        except CollectiveError as error:
            errors.append(f"{name}: {error}")
    return facts, errors


def _tags(aws: AWS, instance: str) -> dict[str, str]:
    pages = aws.client("ec2").get_paginator("describe_tags").paginate(Filters=[_filter("resource-id", instance)])
    with translated("ec2"):
        return {one["Key"]: one.get("Value", "") for page in pages for one in page["Tags"]}


def _autoscaling_group(aws: AWS, instance: str) -> str | None:
    with translated("autoscaling"):
        found = aws.client("autoscaling").describe_auto_scaling_instances(InstanceIds=[instance])
        return next((str(one["AutoScalingGroupName"]) for one in found["AutoScalingInstances"]), None)


def _target_groups(aws: AWS, instance: str) -> list[str]:
    """Return the names of the groups that have the instance itself as a target that is not being removed."""
    client = aws.client("elbv2")
    pages = client.get_paginator("describe_target_groups").paginate()
    with translated("elasticloadbalancing"):
        groups = [one for page in pages for one in page["TargetGroups"] if one.get("TargetType") == "instance"]
        if len(groups) > MOST_TARGET_GROUPS:
            raise ConfigError(f"{len(groups)} target groups, the limit is {MOST_TARGET_GROUPS}")
        found = in_parallel(partial(_is_target, client, instance), groups)
    return sorted(group["TargetGroupName"] for group, is_target in zip(groups, found, strict=True) if is_target)


def _is_target(client: Any, instance: str, group: Mapping[str, Any]) -> bool:
    answer = client.describe_target_health(TargetGroupArn=group["TargetGroupArn"])
    return any(
        one["Target"]["Id"] == instance and one["TargetHealth"]["State"] != _DRAINING
        for one in answer["TargetHealthDescriptions"]
    )


def _filter(name: str, value: str) -> Any:
    return {"Name": name, "Values": [value]}


_READ = {"tags": _tags, "autoscaling_group": _autoscaling_group, "target_groups": _target_groups}
NAMES = tuple(_READ)
