"""An AWS account in one region, and the ARNs of its resources.

The account number is the second last part of a queue's URL, whatever the endpoint:

    https://sqs.eu-central-1.amazonaws.com/123456789012/name
    https://vpce-0ab-1cd.sqs.eu-central-1.vpce.amazonaws.com/123456789012/name
    https://sqs.cn-north-1.amazonaws.com.cn/123456789012/name
    http://127.0.0.1:4566/queue/eu-central-1/000000000000/name
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Account:
    """An account in a region; `partition` is `aws`, `aws-cn` or `aws-us-gov`, as boto3 has it for the region."""

    partition: str
    region: str
    number: str

    def arn(self, service: str, name: str) -> str:
        """Return the ARN of a queue (`sqs`) or topic (`sns`)."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.number}:{name}"

    @property
    def installation(self) -> str:
        """What signed requests contain, so that they are valid in this account and region only."""
        return f"{self.partition}:{self.region}:{self.number}"

    @property
    def root(self) -> str:
        """The ARN for all principals of the account, as far as IAM policies allow them."""
        return f"arn:{self.partition}:iam::{self.number}:root"


def number_in(queue_url: str) -> str:
    """Return the account number in a queue's URL."""
    return queue_url.split("/")[-2]
