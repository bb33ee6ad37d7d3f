"""An AWS account in one region, and the names (ARNs) that its queues, topics and tables have there.

https://sqs.eu-central-1.amazonaws.com/123456789012/name                       a queue's URL: the account comes
https://vpce-0ab-1cd.sqs.eu-central-1.vpce.amazonaws.com/123456789012/name     before its name, by whatever
https://sqs.cn-north-1.amazonaws.com.cn/123456789012/name                      endpoint it was asked for
http://127.0.0.1:4566/queue/eu-central-1/000000000000/name
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Account:
    """`partition` is `aws`, `aws-cn`, `aws-us-gov` …: boto3 knows that of a region."""

    partition: str
    region: str
    number: str

    def arn(self, service: str, name: str) -> str:
        """Return the ARN of a queue (`sqs`) or a topic (`sns`)."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.number}:{name}"

    @property
    def root(self) -> str:
        """The ARN that stands for everybody in the account whom the account's own policies allow something."""
        return f"arn:{self.partition}:iam::{self.number}:root"


def number_in(queue_url: str) -> str:
    """Return the number of the account that a queue's URL names."""
    return queue_url.split("/")[-2]
