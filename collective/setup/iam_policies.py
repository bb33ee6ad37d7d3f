"""Fill in the IAM policies of `conf/iam` for one account, region and collective."""

from __future__ import annotations

import json
import re
from importlib import resources
from typing import Any

from collective.aws.account import Account

# The users of each policy; docs/how-to/set-up-aws.md has the details.
PURPOSES = {
    "node-ec2": "EC2 instances that share a role",
    "node": "a node with its own role or IAM user, tagged collective:identity",
    "node-roles-anywhere": "a node outside EC2 with a certificate (IAM Roles Anywhere)",
    "node-prepared": "a node whose queue 'crpc setup --node' creates",
    "cluster": "nodes that form clusters, in addition ('node-ec2' includes it)",
    "eip": "instances that take an Elastic IP (agent eip), in addition",
    "caller": "callers",
    "operator": "operators, who set up and clean up",
    "operator-watch": "in addition to an operator's policy, for 'crpc setup --stream' and '--ec2-events'",
    "watcher": "in addition to a node's or caller's policy, with watches or 'crpc watch'",
    "watcher-ec2": "in addition to 'watcher', with events of EC2",
    "monitor": "monitoring systems: crpc check, crpc find --dm ec2, crpc inventory export",
    "ec2-facts": "in addition to a node's policy, with ec2_api_facts",
}
# What the files have in place of the values.
_ARN = re.compile(r"^arn:aws:([a-z0-9]+):eu-central-1:111122223333:")
_COLLECTIVE = re.compile(r"(?<=[:/])production_")


def filled(account: Account, collective: str) -> dict[str, Any]:
    """Return the policy documents by name, for the resources of a collective."""
    return {name: _fill(json.loads(_text(name)), account, collective) for name in PURPOSES}


def _text(name: str) -> str:
    return (resources.files("collective.conf") / "iam" / f"{name}.json").read_text(encoding="utf-8")


def _fill(value: Any, account: Account, collective: str) -> Any:
    if isinstance(value, dict):
        return {name: _fill(member, account, collective) for name, member in value.items()}
    if isinstance(value, list):
        return [_fill(member, account, collective) for member in value]
    if not isinstance(value, str):
        return value
    text = _ARN.sub(rf"arn:{account.partition}:\1:{account.region}:{account.number}:", value)
    return _COLLECTIVE.sub(f"{collective}_", text)
