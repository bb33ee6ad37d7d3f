"""Create and repair queues for nodes that may not create their own: attributes, policy, tags and subscription."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from collective import names
from collective.aws.errors import translated
from collective.errors import NotFound
from collective.setup.aws_inventory import Cloud
from collective.setup.differences import policy_problems, tag_problems
from collective.transport.resource_policies import queue_policy
from collective.transport.sqs import NODE_ATTRIBUTES, differences


class Subscriptions:
    """The subscriptions of a topic, read on first use."""

    def __init__(self, cloud: Cloud, topic: str) -> None:
        self._cloud = cloud
        self._topic = topic

    @cached_property
    def _arns(self) -> Mapping[str, str]:
        return self._cloud.subscriptions(self._topic)

    def find(self, queue: str) -> str | None:
        """Return the ARN of a queue's subscription; None when it is not subscribed."""
        return self._arns.get(queue)

    def problems(self, queue: str) -> list[str]:
        """Return what is wrong with a queue's subscription."""
        arn = self.find(queue)
        if arn is None:
            return ["not subscribed"]
        with translated(queue, "queue"):
            found = self._cloud.sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
        return [] if found.get("RawMessageDelivery") == "true" else ["subscribed without raw delivery"]

    def repair(self, queue: str) -> None:
        """Enable raw delivery for a queue's subscription, which Subscribe cannot change."""
        arn = self.find(queue)
        if arn is not None:
            with translated(queue, "queue"):
                self._cloud.sns.set_subscription_attributes(
                    SubscriptionArn=arn, AttributeName="RawMessageDelivery", AttributeValue="true"
                )


class NodeQueue:
    """The queue of one node, and its subscription."""

    kind = "queue"

    def __init__(self, cloud: Cloud, collective: str, identity: str, subscriptions: Subscriptions) -> None:
        self.name = names.node_queue(collective, identity)
        self._cloud = cloud
        self._topic = names.topic(collective)
        self._policy = queue_policy(cloud.account, self.name, self._topic)
        self._tags = names.tags(collective, identity)
        self._subscriptions = subscriptions

    def problems(self) -> list[str] | None:
        """Compare attributes, policy, tags and subscription."""
        try:
            found = self._cloud.transport.attributes(self.name, [*NODE_ATTRIBUTES, "Policy"])
            with translated(self.name, "queue"):
                tags = self._cloud.sqs.list_queue_tags(QueueUrl=self._url()).get("Tags", {})
        except NotFound:
            return None
        return [
            *differences(found),
            *policy_problems(found.get("Policy"), self._policy),
            *tag_problems(tags, self._tags),
            *self._subscriptions.problems(self.name),
        ]

    def create(self) -> None:
        """Create and subscribe it, as a node does."""
        self._cloud.transport.create_node(self.name, self._topic, self._tags)

    def repair(self) -> None:
        """Set subscription, attributes, policy and tags."""
        self._subscriptions.repair(self.name)
        self.create()
        with translated(self.name, "queue"):
            self._cloud.sqs.tag_queue(QueueUrl=self._url(), Tags=self._tags)

    def _url(self) -> str:
        return self._cloud.sqs.get_queue_url(QueueName=self.name)["QueueUrl"]
