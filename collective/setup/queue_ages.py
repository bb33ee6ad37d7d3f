"""Read the age of the oldest message of queues from CloudWatch: SQS itself does not tell it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from collective.aws.errors import translated
from collective.aws.session import AWS

METRICS = 500  # CloudWatch API reference, GetMetricData: the most metrics of a request
WINDOW = 900  # seconds back; the first values of a queue that was inactive are up to 15 minutes late
_METRIC = "ApproximateAgeOfOldestMessage"
_PERIOD = 60  # seconds; SQS writes a value each minute


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
