"""The AWS account of a test: the resources of a collective, and a caller."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import boto3

from collective.setup.aws_inventory import Cloud
from support.crpc_process import Crpc, make_crpc
from support.daemons import aws_environment


class AccountUnderTest:
    """A unique collective in the account at `url`, with its client.yaml in `folder`."""

    def __init__(self, url: str, folder: Path, collective: str = "", **client: Any) -> None:
        self.collective = collective or f"own-{uuid.uuid4().hex[:8]}"
        self.environment = {**aws_environment(url), "COLLECTIVE_CONFIG": str(folder)}
        self.crpc: Crpc = make_crpc(self.environment)
        self.folder, self._client = folder, client
        self.write_config()
        self.sqs, self.sns, self.dynamodb = (self.client(service, url) for service in ("sqs", "sns", "dynamodb"))

    def write_config(self) -> None:
        """Write client.yaml, replacing an existing one."""
        values = {"collective": self.collective, "caller": "alice", "key": "none", "state": "state", **self._client}
        (self.folder / "client.yaml").write_text(json.dumps(values))

    @staticmethod
    def client(service: Any, url: str) -> Any:
        """Return a boto3 client that is independent of the library."""
        session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-central-1")
        return session.client(service, endpoint_url=url)

    def queues(self) -> list[str]:
        """Return the names of the queues that start with the name of the collective."""
        found = self.sqs.list_queues(QueueNamePrefix=f"{self.collective}_").get("QueueUrls", [])
        return sorted(url.rpartition("/")[2] for url in found)

    def topics(self) -> list[str]:
        """Return the names of its topics."""
        return self._mine(topic["TopicArn"].rpartition(":")[2] for topic in self.sns.list_topics()["Topics"])

    def tables(self) -> list[str]:
        """Return the names of its tables."""
        return self._mine(self.dynamodb.list_tables()["TableNames"])

    def subscribed(self) -> list[str]:
        """Return the names of the subscribed queues."""
        pages = self.sns.get_paginator("list_subscriptions").paginate()
        return self._mine(one["Endpoint"].rpartition(":")[2] for page in pages for one in page["Subscriptions"])

    def url(self, queue: str) -> str:
        """Return a queue's URL."""
        return str(self.sqs.get_queue_url(QueueName=queue)["QueueUrl"])

    def _mine(self, found: Any) -> list[str]:
        return sorted(name for name in found if name.startswith(f"{self.collective}_"))


class AgedCloud(Cloud):
    """An account in which tables seem ten days older."""

    def table_age(self, name: str) -> float:
        """Return the age of a table plus ten days, in seconds."""
        return super().table_age(name) + 10 * 86400
