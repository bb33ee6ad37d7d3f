"""Queues that are prepared for nodes which may not make their own: attributes, policy, tags, subscription."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from collective import names
from collective.aws import translated
from collective.errors import NotFound
from collective.setup.aws_inventory import Cloud
from collective.setup.differences import policy_fault, tags_fault
from collective.transport.resource_policies import queue_policy
from collective.transport.sqs import NODE_ATTRIBUTES, differences


class Subscribed:
    """Which queues a topic reaches, read when it is first asked for."""

    def __init__(self, cloud: Cloud, topic: str) -> None:
        self._cloud = cloud
        self._topic = topic

    @cached_property
    def _arns(self) -> Mapping[str, str]:
        return self._cloud.subscriptions(self._topic)

    def find(self, queue: str) -> str | None:
        """Return the ARN of a queue's subscription, if it has one."""
        return self._arns.get(queue)

    def problems(self, queue: str) -> list[str]:
        """Return what is wrong with a queue's subscription."""
        arn = self.find(queue)
        if arn is None:
            return ["not subscribed"]
        with translated(queue):
            found = self._cloud.sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
        return [] if found.get("RawMessageDelivery") == "true" else ["subscribed without raw delivery"]

    def mend(self, queue: str) -> None:
        """Have what is delivered to a queue be the message itself: Subscribe refuses to change that."""
        arn = self.find(queue)
        if arn is not None:
            with translated(queue):
                self._cloud.sns.set_subscription_attributes(
                    SubscriptionArn=arn, AttributeName="RawMessageDelivery", AttributeValue="true"
                )


class NodeQueue:
    """The queue of one node, and its subscription."""

    kind = "queue"

    def __init__(self, cloud: Cloud, collective: str, identity: str, subscribed: Subscribed) -> None:
        self.name = names.node_queue(collective, identity)
        self._cloud = cloud
        self._topic = names.topic(collective)
        self._policy = queue_policy(cloud.account, self.name, self._topic)
        self._tags = names.tags(collective, identity)
        self._subscribed = subscribed

    def problems(self) -> list[str] | None:
        """Compare attributes, policy, tags and subscription."""
        try:
            found = self._cloud.transport.attributes(self.name, [*NODE_ATTRIBUTES, "Policy"])
            with translated(self.name):
                tags = self._cloud.sqs.list_queue_tags(QueueUrl=self._url()).get("Tags", {})
        except NotFound:
            return None
        return [
            *differences(found),
            *policy_fault(found.get("Policy"), self._policy),
            *tags_fault(tags, self._tags),
            *self._subscribed.problems(self.name),
        ]

    def make(self) -> None:
        """Create and subscribe it, as a node does."""
        self._cloud.transport.make_node(self.name, self._topic, self._tags)

    def mend(self) -> None:
        """Set all of it."""
        self._subscribed.mend(self.name)
        self.make()
        with translated(self.name):
            self._cloud.sqs.tag_queue(QueueUrl=self._url(), Tags=self._tags)

    def _url(self) -> str:
        return self._cloud.sqs.get_queue_url(QueueName=self.name)["QueueUrl"]
