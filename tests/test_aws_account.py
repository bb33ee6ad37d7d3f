"""Accounts, partitions, and the account number in a queue's URL."""

from __future__ import annotations

import pytest

from collective.aws.account import Account, number_in

URLS = [
    "https://sqs.eu-central-1.amazonaws.com/123456789012/production_requests",
    "https://eu-central-1.queue.amazonaws.com/123456789012/production_requests",  # the form for older clients of SQS
    "https://sqs-fips.us-gov-west-1.amazonaws.com/123456789012/production_requests",
    "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/production_requests",
    "https://vpce-0a1-2b3.sqs.eu-central-1.vpce.amazonaws.com/123456789012/production_requests",
    "http://127.0.0.1:4566/queue/eu-central-1/123456789012/production_requests",
    "http://localhost:9324/123456789012/production_requests",
]


@pytest.mark.parametrize("url", URLS)
def test_the_url_of_a_queue_has_the_account_number(url: str) -> None:
    """The account number is found for every form of endpoint."""
    assert number_in(url) == "123456789012"


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_arns_have_the_partition(partition: str) -> None:
    """China and GovCloud have their own partitions."""
    account = Account(partition, "xx-north-1", "123456789012")
    assert account.arn("sns", "p_requests") == f"arn:{partition}:sns:xx-north-1:123456789012:p_requests"
    assert account.root == f"arn:{partition}:iam::123456789012:root"
