"""What a collective needs: a topic, a table, and queues prepared for nodes that may not make their own.

    crpc setup                   topic · its policy, tags          table · key, tags
    crpc setup --node IDENTITY   queue · attributes, policy, tags, subscription

Nodes that may make their queue themselves do the same, but for what is mended here (`SQSTransport.make_node`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Protocol

from collective import names
from collective.aws import translated
from collective.errors import NotFound, Unreachable
from collective.setup import CHANGE, KEEP, MAKE, Plan, Step
from collective.setup.aws_inventory import Cloud
from collective.setup.differences import listed, policy_fault, tags_fault, unlisted
from collective.setup.node_queues import NodeQueue, Subscribed
from collective.transport.resource_policies import topic_policy

_LOOKS: Any = {"Delay": 1, "MaxAttempts": 120}  # a second apart; DynamoDB makes or deletes a table within some ten


class Resource(Protocol):
    """One thing that is to be there."""

    kind: str
    name: str

    def problems(self) -> list[str] | None:
        """Return what differs from how it should be, in words; None when it is not there at all."""
        ...

    def make(self) -> None:
        """Make it."""
        ...

    def mend(self) -> None:
        """Make it as it should be."""
        ...


def creation(cloud: Cloud, collective: str, *, registry: bool = True, nodes: Iterable[str] = ()) -> Plan:
    """Return the plan by which a collective, its registry, and the queues of `nodes` (identities) come into being."""
    resources: list[Resource] = [Topic(cloud, collective)]
    if registry:
        resources.append(Table(cloud, collective))
    subscribed = Subscribed(cloud, names.topic(collective))
    resources += [NodeQueue(cloud, collective, identity, subscribed) for identity in nodes]
    return Plan(collective, cloud.account, [_step(resource) for resource in resources])


def _step(resource: Resource) -> Step:
    problems = resource.problems()
    if problems is None:
        return Step(MAKE, resource.kind, resource.name, do=resource.make)
    if problems:
        return Step(CHANGE, resource.kind, resource.name, "; ".join(problems), do=resource.mend)
    return Step(KEEP, resource.kind, resource.name, "there already")


class Topic:
    """The topic that reaches every node."""

    kind = "topic"

    def __init__(self, cloud: Cloud, collective: str) -> None:
        self.name = names.topic(collective)
        self._sns = cloud.sns
        self._arn = cloud.account.arn("sns", self.name)
        self._policy = topic_policy(cloud.account, collective)
        self._tags = names.tags(collective)

    def problems(self) -> list[str] | None:
        """Compare policy and tags."""
        try:
            with translated(self.name):
                found = self._sns.get_topic_attributes(TopicArn=self._arn)["Attributes"]
                tags = self._sns.list_tags_for_resource(ResourceArn=self._arn)["Tags"]
        except NotFound:
            return None
        return [*policy_fault(found.get("Policy"), self._policy), *tags_fault(unlisted(tags), self._tags)]

    def make(self) -> None:
        """Create it with both."""
        with translated(self.name):
            self._sns.create_topic(
                Name=self.name, Attributes={"Policy": json.dumps(self._policy)}, Tags=listed(self._tags)
            )

    def mend(self) -> None:
        """Set both."""
        with translated(self.name):
            policy = json.dumps(self._policy)
            self._sns.set_topic_attributes(TopicArn=self._arn, AttributeName="Policy", AttributeValue=policy)
            self._sns.tag_resource(ResourceArn=self._arn, Tags=listed(self._tags))


class Table:
    """The registry's table."""

    kind = "table"

    def __init__(self, cloud: Cloud, collective: str) -> None:
        self.name = names.table(collective)
        self._cloud = cloud
        self._registry = cloud.registry(collective)
        self._dynamodb = cloud.dynamodb
        self._arn = cloud.account.arn("dynamodb", f"table/{self.name}")
        self._tags = names.tags(collective)

    def problems(self) -> list[str] | None:
        """Compare tags."""
        status = self._cloud.table(self.name)
        if status is None:
            return None
        if status == "DELETING":
            raise Unreachable(f"{self.name}: is being deleted: try again in a minute")
        with translated(self.name):
            tags = self._dynamodb.list_tags_of_resource(ResourceArn=self._arn).get("Tags", [])
        return tags_fault(unlisted(tags), self._tags)

    def make(self) -> None:
        """Create it, and wait until it can be written."""
        self._registry.create(self._tags)
        with translated(self.name):
            self._dynamodb.get_waiter("table_exists").wait(TableName=self.name, WaiterConfig=_LOOKS)

    def mend(self) -> None:
        """Set its tags."""
        with translated(self.name):
            self._dynamodb.tag_resource(ResourceArn=self._arn, Tags=listed(self._tags))
