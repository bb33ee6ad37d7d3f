"""Stacks of the CloudFormation template on a server, and the policies of its roles."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collective.testing import COLLECTIVE
from support.iam import IAMPolicy
from support.iam_session import ACCOUNT, REGION, open_session

CONF = Path(__file__).resolve().parents[2] / "conf"
TEMPLATE = CONF / "cloudformation.yaml"
FILES = {
    "NodePolicy": "node",
    "NodeEC2Policy": "node-ec2",
    "NodePreparedPolicy": "node-prepared",
    "NodeClusterPolicy": "cluster",
    "NodeAddressPolicy": "eip",
    "CallerPolicy": "caller",
    "OperatorPolicy": "operator",
    "OperatorWatchPolicy": "operator-watch",
    "WatcherPolicy": "watcher",
    "WatcherEC2Policy": "watcher-ec2",
    "MonitorPolicy": "monitor",
    "EC2FactsPolicy": "ec2-facts",
}


def stack(collective: str, **parameters: str) -> dict[str, Any]:
    """Create a stack from the template, and return its policies by file name."""
    cloudformation = open_session().client("cloudformation")
    cloudformation.create_stack(
        StackName=collective,
        TemplateBody=TEMPLATE.read_text(),
        Parameters=[
            {"ParameterKey": key, "ParameterValue": value}
            for key, value in {"Collective": collective, **parameters}.items()
        ],
        Capabilities=["CAPABILITY_IAM"],
    )
    made = cloudformation.describe_stack_resources(StackName=collective)["StackResources"]
    ids = {one.get("LogicalResourceId", ""): one.get("PhysicalResourceId", "") for one in made}
    return {file: document(ids[name]) for name, file in FILES.items()}


def document(arn: str) -> Any:
    """Return the document of a managed policy."""
    iam = open_session().client("iam")
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    return iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]


def policy(name: str, collective: str = COLLECTIVE) -> IAMPolicy:
    """Return the policy in a file, with the values for this collective and server."""
    text = (CONF / "iam" / f"{name}.json").read_text()
    for example, here in {"eu-central-1": REGION, "111122223333": ACCOUNT, "production": collective}.items():
        text = text.replace(example, here)
    return IAMPolicy(json.loads(text))


def rendered(part: Any, values: Mapping[str, str]) -> Any:
    """Return a part of the template with the values of its parameters."""
    if isinstance(part, list):
        return [rendered(one, values) for one in part]
    if not isinstance(part, dict):
        return part
    if set(part) == {"Ref"}:
        return values[part["Ref"]]
    if set(part) == {"Fn::Sub"}:
        return re.sub(r"\$\{(.+?)\}", lambda match: values[match[1]], part["Fn::Sub"])
    return {key: rendered(value, values) for key, value in part.items()}
