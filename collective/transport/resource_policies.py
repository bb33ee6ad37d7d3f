"""What a topic and a node's queue let others do: their own policies, which AWS asks besides everybody's IAM policies.

    topic    the account's own people and nodes, as far as IAM allows them; subscribers: queues of this collective's
             nodes and nothing else, so that nobody has all requests sent to an address of his own
    queue    the topic may send; all others as far as IAM allows them
    both     nothing without TLS

The form is from the SNS and SQS developer guides ("Example cases for Amazon SNS access control", "security best
practices"); a statement's Sid is unique, and a topic's policy names the actions that SNS lists for one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collective import names
from collective.aws_account import Account

_OWNER_MAY = [
    "GetTopicAttributes",
    "SetTopicAttributes",
    "DeleteTopic",
    "ListSubscriptionsByTopic",
    "Subscribe",
    "Publish",
]
_WITHOUT_TLS = {"Bool": {"aws:SecureTransport": "false"}}


def topic_policy(account: Account, collective: str) -> dict[str, Any]:
    """Return the policy of the topic that reaches every node of a collective."""
    topic = account.arn("sns", names.topic(collective))
    node_queues = account.arn("sqs", names.node_queues(collective)) + "*"
    everybody = {"AWS": "*"}
    return _policy(
        topic,
        _statement("OwnAccount", "Allow", {"AWS": account.root}, [f"SNS:{action}" for action in _OWNER_MAY]),
        _statement("NodesOnly", "Deny", everybody, "SNS:Subscribe", {"StringNotLike": {"sns:Endpoint": node_queues}}),
        _statement("TLSOnly", "Deny", everybody, "SNS:Publish", _WITHOUT_TLS),
    )


def queue_policy(account: Account, queue: str, topic: str) -> dict[str, Any]:
    """Return the policy of a node's queue, given its name and its topic's."""
    from_topic = {"ArnEquals": {"aws:SourceArn": account.arn("sns", topic)}}
    return _policy(
        account.arn("sqs", queue),
        _statement("Topic", "Allow", {"Service": "sns.amazonaws.com"}, "sqs:SendMessage", from_topic),
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
    """Tell whether two policies say the same: the order of a list says nothing, nor whether one value is in a list."""
    return bool(_plain(one) == _plain(other))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(member) for key, member in value.items()}
    if isinstance(value, list):
        members = sorted((_plain(member) for member in value), key=repr)
        return members[0] if len(members) == 1 else members
    return value
