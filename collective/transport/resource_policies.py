"""The resource policies of a topic and of node queues, which AWS evaluates besides IAM policies.

    topic    the account's own principals, as far as IAM allows them; only node queues of this collective may be
             subscribed, so that no principal can have all requests delivered to its own address
    queue    the topic may send; other principals as far as IAM allows them
    events   a rule of EventBridge may send to the queue for events of EC2
    all      nothing without TLS

The form follows the SNS and SQS developer guides ("Example cases for Amazon SNS access control", "Security best
practices"): a statement's Sid is unique, and a topic policy may only name the actions that SNS lists for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collective import names
from collective.aws.account import Account

_OWNER_ACTIONS = [
    "GetTopicAttributes",
    "SetTopicAttributes",
    "DeleteTopic",
    "ListSubscriptionsByTopic",
    "Subscribe",
    "Publish",
]
_WITHOUT_TLS = {"Bool": {"aws:SecureTransport": "false"}}


def topic_policy(account: Account, collective: str) -> dict[str, Any]:
    """Return the policy of a collective's topic."""
    topic = account.arn("sns", names.topic(collective))
    node_queues = account.arn("sqs", names.node_queues(collective)) + "*"
    everyone = {"AWS": "*"}
    return _policy(
        topic,
        _statement("OwnAccount", "Allow", {"AWS": account.root}, [f"SNS:{action}" for action in _OWNER_ACTIONS]),
        _statement("NodesOnly", "Deny", everyone, "SNS:Subscribe", {"StringNotLike": {"sns:Endpoint": node_queues}}),
        _statement("TLSOnly", "Deny", everyone, "SNS:Publish", _WITHOUT_TLS),
    )


def queue_policy(account: Account, queue: str, topic: str) -> dict[str, Any]:
    """Return the policy of a node queue, given its name and the name of the topic."""
    from_topic = {"ArnEquals": {"aws:SourceArn": account.arn("sns", topic)}}
    return _policy(
        account.arn("sqs", queue),
        _statement("Topic", "Allow", {"Service": "sns.amazonaws.com"}, "sqs:SendMessage", from_topic),
        _statement("TLSOnly", "Deny", {"AWS": "*"}, "sqs:*", _WITHOUT_TLS),
    )


def ec2_queue_policy(account: Account, name: str) -> dict[str, Any]:
    """Return the policy of the queue for events of EC2, to which only the rule of the same name may send.

    Source: EventBridge user guide, "Using resource-based policies", Amazon SQS permissions.
    """
    from_rule = {"ArnEquals": {"aws:SourceArn": account.arn("events", f"rule/{name}")}}
    return _policy(
        account.arn("sqs", name),
        _statement("Rule", "Allow", {"Service": "events.amazonaws.com"}, "sqs:SendMessage", from_rule),
        _statement("TLSOnly", "Deny", {"AWS": "*"}, "sqs:*", _WITHOUT_TLS),
    )


def _policy(resource: str, *statements: Mapping[str, Any]) -> dict[str, Any]:
    complete = [{**statement, "Resource": resource} for statement in statements]
    return {"Version": "2012-10-17", "Id": "collective", "Statement": complete}


def _statement(
    sid: str,
    effect: str,
    principal: Mapping[str, str],
    action: str | list[str],
    condition: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    statement = {"Sid": sid, "Effect": effect, "Principal": principal, "Action": action}
    return {**statement, "Condition": condition} if condition else statement


def same_policy(one: Any, other: Any) -> bool:
    """Return whether two policies are equivalent: order is irrelevant, and a list of one value equals the value."""
    return bool(_normalized(one) == _normalized(other))


def _normalized(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _normalized(member) for key, member in value.items()}
    if isinstance(value, list):
        members = sorted((_normalized(member) for member in value), key=repr)
        return members[0] if len(members) == 1 else members
    return value
