"""Plan the creation and removal of what tells watchers about terminated instances: a rule of EventBridge and a queue.

rule <collective>_ec2: instances that are terminated ─► queue <collective>_ec2, to which only this rule may send
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from collective import names
from collective.aws.errors import translated
from collective.errors import NotFound
from collective.setup import REMOVE, Step
from collective.setup.aws_inventory import Cloud
from collective.setup.differences import from_tag_list, policy_problems, tag_problems, to_tag_list
from collective.transport.resource_policies import ec2_queue_policy

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

ATTRIBUTES = {"MessageRetentionPeriod": "3600", "VisibilityTimeout": "30"}  # seconds
PATTERN: Any = {
    "source": ["aws.ec2"],
    "detail-type": ["EC2 Instance State-change Notification"],
    "detail": {"state": ["terminated"]},
}
_TARGET = "queue"  # the target's id


class EventQueue:
    """The queue for events of EC2."""

    kind = "queue"

    def __init__(self, cloud: Cloud, collective: str) -> None:
        self.name = names.ec2_events(collective)
        self._cloud = cloud
        self._policy = ec2_queue_policy(cloud.account, self.name)
        self._tags = names.tags(collective)

    def problems(self) -> list[str] | None:
        """Compare attributes, policy and tags."""
        requested: Any = [*ATTRIBUTES, "Policy"]
        try:
            with translated(self.name, "queue"):
                url = self._url()
                found: Any = self._cloud.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=requested)["Attributes"]
                tags = self._cloud.sqs.list_queue_tags(QueueUrl=url).get("Tags", {})
        except NotFound:
            return None
        different = [f"{name} is {found.get(name)}" for name, value in ATTRIBUTES.items() if found.get(name) != value]
        return [*different, *policy_problems(found.get("Policy"), self._policy), *tag_problems(tags, self._tags)]

    def create(self) -> None:
        """Create it."""
        with translated(self.name, "queue"):
            self._cloud.sqs.create_queue(QueueName=self.name, Attributes=self._attributes, tags=self._tags)

    def repair(self) -> None:
        """Set attributes, policy and tags."""
        with translated(self.name, "queue"):
            self._cloud.sqs.set_queue_attributes(QueueUrl=self._url(), Attributes=self._attributes)
            self._cloud.sqs.tag_queue(QueueUrl=self._url(), Tags=self._tags)

    @property
    def _attributes(self) -> Any:
        return {**ATTRIBUTES, "Policy": json.dumps(self._policy)}

    def _url(self) -> str:
        return self._cloud.sqs.get_queue_url(QueueName=self.name)["QueueUrl"]


class EventRule:
    """The rule that sends events of EC2 to the queue."""

    kind = "rule"

    def __init__(self, cloud: Cloud, collective: str) -> None:
        self.name = names.ec2_events(collective)
        self._events: EventBridgeClient = cloud.aws.client("events")
        self._arn = cloud.account.arn("events", f"rule/{self.name}")
        self._queue = cloud.account.arn("sqs", self.name)
        self._tags = names.tags(collective)

    def problems(self) -> list[str] | None:
        """Compare pattern, state, target and tags."""
        try:
            with translated(self.name, "rule"):
                rule = self._events.describe_rule(Name=self.name)
                targets = self._events.list_targets_by_rule(Rule=self.name)["Targets"]
                tags = self._events.list_tags_for_resource(ResourceARN=self._arn)["Tags"]
        except NotFound:
            return None
        problems = [] if json.loads(rule.get("EventPattern", "{}")) == PATTERN else ["pattern differs"]
        problems += [] if rule.get("State") == "ENABLED" else ["disabled"]
        problems += [] if [one["Arn"] for one in targets] == [self._queue] else ["target differs"]
        return [*problems, *tag_problems(from_tag_list(tags), self._tags)]

    def create(self) -> None:
        """Create it with its target."""
        with translated(self.name, "rule"):
            self._events.put_rule(
                Name=self.name, EventPattern=json.dumps(PATTERN), State="ENABLED", Tags=to_tag_list(self._tags)
            )
            self._events.put_targets(Rule=self.name, Targets=[{"Id": _TARGET, "Arn": self._queue}])

    def repair(self) -> None:
        """Set pattern, state, target and tags."""
        with translated(self.name, "rule"):
            self._events.put_rule(Name=self.name, EventPattern=json.dumps(PATTERN), State="ENABLED")
            self._remove_targets(keep=_TARGET)
            self._events.put_targets(Rule=self.name, Targets=[{"Id": _TARGET, "Arn": self._queue}])
            self._events.tag_resource(ResourceARN=self._arn, Tags=to_tag_list(self._tags))

    def remove(self) -> None:
        """Delete it with its targets."""
        with translated(self.name, "rule"):
            self._remove_targets()
            self._events.delete_rule(Name=self.name)

    def _remove_targets(self, keep: str | None = None) -> None:
        found = self._events.list_targets_by_rule(Rule=self.name)["Targets"]
        others = [one["Id"] for one in found if one["Id"] != keep]
        if others:
            self._events.remove_targets(Rule=self.name, Ids=others)


def removal_steps(cloud: Cloud, collective: str) -> list[Step]:
    """Return the steps that remove the queue, and the rule before it.

    Whether there is a rule is asked only if there is a queue, so that most operators need no permission for that.
    """
    name = names.ec2_events(collective)
    urls = cloud.queues(name)
    if name not in urls:
        return []
    steps = []
    rule = EventRule(cloud, collective)
    if rule.problems() is not None:
        steps.append(Step(REMOVE, "rule", name, do=rule.remove))

    def delete() -> None:
        cloud.delete_queue(name, urls[name])

    return [*steps, Step(REMOVE, "queue", name, do=delete)]
