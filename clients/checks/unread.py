"""Measure how old the oldest unread request of the nodes is.

    GetQueueAttributes of each node queue ─► queues with unread messages ─► CloudWatch, for those only

SQS itself does not tell the age of a message that is not received. Receiving requests to look at them would let a
monitoring system read all of them, so the age is CloudWatch's `ApproximateAgeOfOldestMessage`, which is one to three
minutes late.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from collective import names
from collective.aws.errors import translated
from collective.aws.session import AWS
from collective.clients.checks.measures import Measured, connect, depths
from collective.errors import Unreachable
from collective.text import plural

if TYPE_CHECKING:
    from collective.config import ClientConfig

METRICS = 500  # CloudWatch API reference, GetMetricData: the most metrics of a request
WINDOW = 900  # seconds back; the first values of a queue that was inactive are up to 15 minutes late
_METRIC = "ApproximateAgeOfOldestMessage"
_PERIOD = 60  # seconds; SQS writes a value each minute


def requests(config: ClientConfig) -> Measured:
    """Measure the age of the oldest unread request in seconds. Raises TransportError, also if no age is known."""
    cloud = connect(config)
    found = depths(cloud, names.node_queues(config.collective), names.is_node_queue, config.collective)
    waiting = sorted(queue for queue, depth in found.items() if depth)
    ages = read_ages(cloud.aws, waiting)
    unknown = len(waiting) - len(ages)
    text = f"{plural(len(found), 'node queue')}, {len(waiting)} with unread requests"
    if waiting and not ages:
        raise Unreachable(f"CloudWatch has no age of {waiting[0]} yet (it is up to {WINDOW // 60} minutes late)")
    oldest = max(ages, key=ages.__getitem__, default=None)
    if oldest is not None:
        text += f", oldest waits {ages[oldest]:.0f} s: {oldest}"
    values = {"oldest": 0.0 if oldest is None else ages[oldest], "waiting": len(waiting), "unknown": unknown}
    return Measured(values, text, unit="s")


def read_ages(aws: AWS, queues: Sequence[str]) -> dict[str, float]:
    """Return the last known age of the oldest message in seconds, by queue. Raises TransportError.

    A queue without a value in the last WINDOW seconds is omitted.
    """
    ages: dict[str, float] = {}
    if not queues:
        return ages
    client = aws.client("cloudwatch")
    end = datetime.fromtimestamp(time.time(), timezone.utc)
    begin = datetime.fromtimestamp(end.timestamp() - WINDOW, timezone.utc)
    for first in range(0, len(queues), METRICS):
        some = queues[first : first + METRICS]
        pages = client.get_paginator("get_metric_data").paginate(
            MetricDataQueries=[_query(number, queue) for number, queue in enumerate(some)],
            StartTime=begin,
            EndTime=end,
            ScanBy="TimestampDescending",
        )
        with translated("cloudwatch", "metric"):
            results = [one for page in pages for one in page["MetricDataResults"]]
        for result in reversed(results):  # the first page has the newest values
            ages.update(_newest(some, result))
    return ages


def _newest(queues: Sequence[str], result: Mapping[str, Any]) -> dict[str, float]:
    return {queues[int(result["Id"][1:])]: float(result["Values"][0])} if result["Values"] else {}


def _query(number: int, queue: str) -> dict[str, Any]:
    dimensions = [{"Name": "QueueName", "Value": queue}]
    metric = {"Namespace": "AWS/SQS", "MetricName": _METRIC, "Dimensions": dimensions}
    return {"Id": f"q{number}", "MetricStat": {"Metric": metric, "Period": _PERIOD, "Stat": "Maximum"}}
