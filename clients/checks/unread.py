"""Measure how old the oldest unread request of the nodes is.

    GetQueueAttributes of each node queue ─► queues with unread messages ─► CloudWatch, for those only

SQS itself does not tell the age of a message that is not received. Receiving requests to look at them would let a
monitoring system read all of them, so the age is CloudWatch's `ApproximateAgeOfOldestMessage`, which is one to three
minutes late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from collective import names
from collective.clients.checks.measures import Measured, connect, depths
from collective.errors import Unreachable
from collective.setup.queue_ages import WINDOW, read_ages
from collective.text import plural

if TYPE_CHECKING:
    from collective.config import ClientConfig


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
