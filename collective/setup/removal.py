"""Plan the removal of a collective: its topic and subscriptions, the queues of its nodes and callers, and its tables.

Other queues whose names start alike are kept: only names that nodes and callers create are matched (`names.py`).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from collective import names
from collective.aws.errors import translated
from collective.errors import NotFound
from collective.nodesets import fold
from collective.registry.dynamodb import KEY
from collective.registry.run_table import KEY as RUNS_KEY
from collective.setup import REMOVE, Plan, Step
from collective.setup.aws_inventory import Cloud
from collective.setup.ec2_events import removal_steps
from collective.text import plural

_WAITER: Any = {"Delay": 1, "MaxAttempts": 120}  # seconds; DynamoDB takes about 10 s to delete a table


def removal(cloud: Cloud, collective: str, *, registry: bool = True, runs: bool = True) -> Plan:
    """Return the plan that removes a collective; a warning names the nodes that are alive."""
    table = _table(cloud, names.table(collective)) if registry else []
    shared = _table(cloud, names.runs_table(collective), RUNS_KEY, "a table of runs") if runs else []
    events = removal_steps(cloud, collective)
    steps = [*_topic(cloud, names.topic(collective)), *_queues(cloud, collective), *events, *table, *shared]
    alive = _alive(cloud, collective) if table else []
    warnings = [f"alive, and will create their queues again (stop collectived first): {fold(alive)}"] if alive else []
    return Plan(collective, cloud.account, steps, warnings)


def _topic(cloud: Cloud, name: str) -> list[Step]:
    arn = cloud.account.arn("sns", name)
    try:
        with translated(name, "topic"):
            cloud.sns.get_topic_attributes(TopicArn=arn)
    except NotFound:
        return []

    def delete() -> None:
        with translated(name, "topic"):
            cloud.sns.delete_topic(TopicArn=arn)

    return [Step(REMOVE, "topic", name, f"{plural(len(cloud.subscriptions(name)), 'queue')} subscribed", delete)]


def _queues(cloud: Cloud, collective: str) -> list[Step]:
    found = {**cloud.queues(names.node_queues(collective)), **cloud.queues(names.reply_queue(collective, ""))}
    return [
        Step(REMOVE, "queue", name, do=partial(cloud.delete_queue, name, url))
        for name, url in sorted(found.items())
        if names.is_node_queue(name, collective) or names.is_reply_queue(name, collective)
    ]


def _table(cloud: Cloud, name: str, key: Any = KEY, what: str = "a registry") -> list[Step]:
    if cloud.table(name, key, what) in (None, "DELETING"):
        return []

    def delete() -> None:
        with translated(name, "table"):
            cloud.dynamodb.delete_table(TableName=name)
            cloud.dynamodb.get_waiter("table_not_exists").wait(TableName=name, WaiterConfig=_WAITER)

    return [Step(REMOVE, "table", name, do=delete)]


def _alive(cloud: Cloud, collective: str) -> list[str]:
    registry = cloud.registry(collective)
    records = registry.read().records
    now = registry.now()
    return [record.identity for record in records if record.alive(now)]
