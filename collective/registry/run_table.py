"""The table of shared runs: its key, and how it is created.

`collective.fleet.steering.table_store` reads and writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from collective.aws.errors import translated
from collective.aws.session import AWS

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEY: Any = [{"AttributeName": "part", "KeyType": "HASH"}, {"AttributeName": "entry", "KeyType": "RANGE"}]
EXPIRES = "expires"  # the attribute with the time from when DynamoDB deletes an item


class RunTable:
    """The table `name`, whether or not it exists."""

    def __init__(self, aws: AWS, name: str) -> None:
        self.name = name
        self._client: DynamoDBClient = aws.client("dynamodb")

    def create(self, tags: Mapping[str, str] | None = None) -> None:
        """Create the table, billed per request, unless it exists."""
        with translated(self.name, "table"), suppress(self._client.exceptions.ResourceInUseException):
            self._client.create_table(
                TableName=self.name,
                KeySchema=KEY,
                AttributeDefinitions=[
                    {"AttributeName": "part", "AttributeType": "S"},
                    {"AttributeName": "entry", "AttributeType": "S"},
                ],
                BillingMode="PAY_PER_REQUEST",
                Tags=[{"Key": key, "Value": value} for key, value in (tags or {}).items()],
            )

    def expires(self) -> bool:
        """Return whether DynamoDB deletes items that have expired."""
        with translated(self.name, "table"):
            found = self._client.describe_time_to_live(TableName=self.name)["TimeToLiveDescription"]
        return found.get("TimeToLiveStatus") in ("ENABLED", "ENABLING") and found.get("AttributeName") == EXPIRES

    def expire_items(self) -> None:
        """Let DynamoDB delete items that have expired; the table must be active."""
        with translated(self.name, "table"):
            self._client.update_time_to_live(
                TableName=self.name, TimeToLiveSpecification={"Enabled": True, "AttributeName": EXPIRES}
            )
