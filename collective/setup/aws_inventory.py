"""Read what exists on AWS, all pages of it: the account, queues by prefix, and a topic's subscriptions."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from collective import names
from collective.aws.account import Account
from collective.aws.errors import translated
from collective.aws.session import AWS
from collective.errors import ConfigError, NotFound
from collective.registry.dynamodb import KEY, DynamoDBRegistry
from collective.registry.run_table import RunTable
from collective.transport.sqs import SQSTransport

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

    from collective.config import ClientConfig

_PAGE = 1000  # queues; SQS API reference, ListQueues: the maximum; without a page size there is no next page


class Cloud:
    """The clients of one account in one region."""

    def __init__(self, aws: AWS) -> None:
        self.aws = aws
        self.sqs: SQSClient = aws.client("sqs")
        self.sns: SNSClient = aws.client("sns")
        self.dynamodb: DynamoDBClient = aws.client("dynamodb")

    @classmethod
    def connect(cls, config: ClientConfig) -> Cloud:
        """Return the account and region of a caller. Raises ConfigError."""
        return cls(AWS.of(config))

    @cached_property
    def transport(self) -> SQSTransport:
        """The transport that creates node queues."""
        return SQSTransport(self.aws)

    def registry(self, collective: str) -> DynamoDBRegistry:
        """Return the registry of a collective, whether or not its table exists."""
        return DynamoDBRegistry(self.aws, names.table(collective))

    @cached_property
    def account(self) -> Account:
        """The account of these credentials (GetCallerIdentity, which needs no permission)."""
        with translated("sts"):
            number = self.aws.client("sts").get_caller_identity()["Account"]
        return Account(self.sqs.meta.partition, self.sqs.meta.region_name, number)

    def run_table(self, collective: str) -> RunTable:
        """Return the table of shared runs, whether or not it exists."""
        return RunTable(self.aws, names.runs_table(collective))

    def table(self, name: str, required: Any = KEY, what: str = "a registry") -> str | None:
        """Return the status of a table (ACTIVE, DELETING …) with the `required` key; None when it does not exist.

        Raises ConfigError for a table with another key, which is not `what` it must be.
        """
        try:
            with translated(name, "table"):
                found = self.dynamodb.describe_table(TableName=name)["Table"]
                key, status = found["KeySchema"], found["TableStatus"]
        except NotFound:
            return None
        if key != required:
            raise ConfigError(f"{name}: this table is not {what} (use another name for the collective)")
        return status

    def table_age(self, name: str) -> float:
        """Return the age of a table in seconds. Raises NotFound."""
        with translated(name, "table"):
            created = self.dynamodb.describe_table(TableName=name)["Table"]["CreationDateTime"]
        return self.aws.now() - created.timestamp()

    def queues(self, prefix: str) -> dict[str, str]:
        """Return the URLs of the queues whose names start with `prefix`, by name."""
        pages = self.sqs.get_paginator("list_queues").paginate(
            QueueNamePrefix=prefix, PaginationConfig={"PageSize": _PAGE}
        )
        with translated(f"{prefix}*"):
            urls = [url for page in pages for url in page.get("QueueUrls", [])]
        return {url.rpartition("/")[2]: url for url in urls}

    def subscriptions(self, topic: str) -> dict[str, str]:
        """Return the ARNs of a topic's subscriptions by queue name; empty when the topic does not exist."""
        pages = self.sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=self.account.arn("sns", topic))
        try:
            with translated(topic, "topic"):
                found: list[Any] = [one for page in pages for one in page["Subscriptions"]]
        except NotFound:
            return {}
        return {one["Endpoint"].rpartition(":")[2]: one["SubscriptionArn"] for one in found if one["Protocol"] == "sqs"}

    def unsubscribe(self, queue: str, subscription: str) -> None:
        """Delete a queue's subscription, given its ARN."""
        with translated(queue, "subscription"):
            self.sns.unsubscribe(SubscriptionArn=subscription)

    def delete_queue(self, queue: str, url: str) -> None:
        """Delete a queue and its messages, if it exists."""
        try:
            with translated(queue, "queue"):
                self.sqs.delete_queue(QueueUrl=url)
        except NotFound:
            return
