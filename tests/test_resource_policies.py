"""The resource policies of topics and queues, and when two policies are equivalent."""

from __future__ import annotations

from typing import Any

from collective.aws.account import Account
from collective.transport.resource_policies import queue_policy, same_policy, topic_policy

CHINA = Account("aws-cn", "cn-north-1", "123456789012")
TOPIC = "arn:aws-cn:sns:cn-north-1:123456789012:p_requests"


def by_sid(policy: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {statement["Sid"]: statement for statement in policy["Statement"]}


def test_only_the_own_account_may_use_the_topic() -> None:
    """No statement allows other principals, and every statement is for this topic."""
    policy = topic_policy(CHINA, "p")
    allowed = [one["Principal"] for one in policy["Statement"] if one["Effect"] == "Allow"]
    assert allowed == [{"AWS": "arn:aws-cn:iam::123456789012:root"}]
    assert {one["Resource"] for one in policy["Statement"]} == {TOPIC}


def test_only_node_queues_can_be_subscribed() -> None:
    """Only node queues can be subscribed, because any subscription receives every request."""
    nodes_only = by_sid(topic_policy(CHINA, "p"))["NodesOnly"]
    assert (nodes_only["Effect"], nodes_only["Action"]) == ("Deny", "SNS:Subscribe")
    queues = "arn:aws-cn:sqs:cn-north-1:123456789012:p_node_*"
    assert nodes_only["Condition"] == {"StringNotLike": {"sns:Endpoint": queues}}


def test_only_the_topic_may_send_to_a_node_queue() -> None:
    """The policy of a node queue allows the topic to send; all other principals depend on IAM policies."""
    policy = by_sid(queue_policy(CHINA, "p_node_web1-0123456789", "p_requests"))
    assert policy["Topic"]["Action"] == "sqs:SendMessage"
    assert policy["Topic"]["Condition"] == {"ArnEquals": {"aws:SourceArn": TOPIC}}
    assert [one["Sid"] for one in policy.values() if one["Effect"] == "Allow"] == ["Topic"]


def test_both_policies_require_tls() -> None:
    """Both policies require TLS, because requests are signed but not encrypted."""
    for policy in (topic_policy(CHINA, "p"), queue_policy(CHINA, "q", "p_requests")):
        refused = by_sid(policy)["TLSOnly"]
        assert (refused["Effect"], refused["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_policies_are_compared_by_meaning() -> None:
    """The order of lists, and whether a single value is in a list, make no difference."""
    policy = {"Statement": [{"Sid": "A", "Action": ["x", "y"]}, {"Sid": "B", "Action": "z"}]}
    same = {"Statement": [{"Sid": "B", "Action": ["z"]}, {"Sid": "A", "Action": ["y", "x"]}]}
    other = {"Statement": [{"Sid": "A", "Action": ["x", "y"]}, {"Sid": "B", "Action": "w"}]}
    assert same_policy(policy, same)
    assert not same_policy(policy, other)
