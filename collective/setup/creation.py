"""Plan the creation of a collective: its topic, its table, and queues for nodes that may not create their own.

    crpc setup                   topic · policy, tags              tables · key, tags, expiry of runs
    crpc setup --stream          table · stream of changes
    crpc setup --ec2-events      queue · attributes, policy, tags  rule of EventBridge · pattern, target, tags
    crpc setup --node IDENTITY   queue · attributes, policy, tags, subscription

Nodes with the permission create their queues themselves (`SQSTransport.create_node`), but do not repair existing ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from collective import names
from collective.aws.errors import translated
from collective.errors import NotFound
from collective.setup import CHANGE, KEEP, MAKE, Plan, Step
from collective.setup.aws_inventory import Cloud
from collective.setup.differences import from_tag_list, policy_problems, tag_problems, to_tag_list
from collective.setup.ec2_events import EventQueue, EventRule
from collective.setup.node_queues import NodeQueue, Subscriptions
from collective.setup.tables import registry_table, runs_table
from collective.transport.resource_policies import topic_policy


class Resource(Protocol):
    """A resource that must exist."""

    kind: str
    name: str

    def problems(self) -> list[str] | None:
        """Return a description of each difference; None when the resource does not exist."""
        ...

    def create(self) -> None:
        """Create it."""
        ...

    def repair(self) -> None:
        """Remove the differences."""
        ...


@dataclass(frozen=True)
class Extras:
    """What a collective can have in addition: a stream of the registry's table, and the events of EC2."""

    stream: bool = False
    ec2_events: bool = False


NO_EXTRAS = Extras()


def creation(
    cloud: Cloud,
    collective: str,
    *,
    registry: bool = True,
    runs: bool = True,
    nodes: Iterable[str] = (),
    extras: Extras = NO_EXTRAS,
) -> Plan:
    """Return the plan that creates a collective, with its tables and the queues of `nodes` (identities)."""
    resources: list[Resource] = [Topic(cloud, collective)]
    if registry:
        resources.append(registry_table(cloud, collective, stream=extras.stream))
    if runs:
        resources.append(runs_table(cloud, collective))
    subscriptions = Subscriptions(cloud, names.topic(collective))
    if extras.ec2_events:
        resources += [EventQueue(cloud, collective), EventRule(cloud, collective)]
    resources += [NodeQueue(cloud, collective, identity, subscriptions) for identity in nodes]
    return Plan(collective, cloud.account, [_step(resource) for resource in resources])


def _step(resource: Resource) -> Step:
    problems = resource.problems()
    if problems is None:
        return Step(MAKE, resource.kind, resource.name, do=resource.create)
    if problems:
        return Step(CHANGE, resource.kind, resource.name, "; ".join(problems), do=resource.repair)
    return Step(KEEP, resource.kind, resource.name, "exists")


class Topic:
    """The topic that delivers to every node."""

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
            with translated(self.name, "topic"):
                found = self._sns.get_topic_attributes(TopicArn=self._arn)["Attributes"]
                tags = self._sns.list_tags_for_resource(ResourceArn=self._arn)["Tags"]
        except NotFound:
            return None
        return [*policy_problems(found.get("Policy"), self._policy), *tag_problems(from_tag_list(tags), self._tags)]

    def create(self) -> None:
        """Create it with policy and tags."""
        with translated(self.name, "topic"):
            self._sns.create_topic(
                Name=self.name, Attributes={"Policy": json.dumps(self._policy)}, Tags=to_tag_list(self._tags)
            )

    def repair(self) -> None:
        """Set policy and tags."""
        with translated(self.name, "topic"):
            policy = json.dumps(self._policy)
            self._sns.set_topic_attributes(TopicArn=self._arn, AttributeName="Policy", AttributeValue=policy)
            self._sns.tag_resource(ResourceArn=self._arn, Tags=to_tag_list(self._tags))
