"""Take events of EC2 from their queue, and mark nodes whose instances are terminated, in the registry.

    EC2 ─► rule of EventBridge ─► queue ─► receive ─► read the registry ─► mark_terminated ─► acknowledge
                                                                                │
                                            all watchers, and `crpc nodes prune` ◄─┘

Each event reaches one of the watchers only: the mark tells the others. A node's instance is its fact
`ec2.instance_id`, or its identity. A heartbeat after the mark refutes it, so an invented event does no lasting harm.

Source: EventBridge user guide, "Events from AWS services"; EC2 user guide, "Instance state-change notification".
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from collective import bounded_json
from collective.errors import MessageError, TransportError
from collective.log_limiter import LogLimiter
from collective.periodic import PeriodicThread
from collective.registry import MarkableNodes, NodeRecord
from collective.transport import LONGEST_POLL, Transport

log = logging.getLogger(__name__)

RETRY = 30.0  # seconds until the queue is read again after an error
_NOTIFICATION = "EC2 Instance State-change Notification"


class Terminations:
    """Marks terminated nodes of `registry` by the events in `queue`; `done` is called when a node was marked."""

    def __init__(
        self, transport: Transport, queue: str, registry: MarkableNodes, done: Callable[[], None] = lambda: None
    ) -> None:
        self._transport = transport
        self._queue = queue
        self._registry = registry
        self._done = done
        self._limiter = LogLimiter()
        self._thread = PeriodicThread("ec2 events", self._step, RETRY)

    def start(self) -> None:
        """Take events in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more events; a poll that runs ends by itself."""
        self._thread.stop()

    def take(self, wait: float = 0.0) -> int:
        """Take some events, waiting at most `wait` seconds for the first one; return their number.

        Raises TransportError, NotFound without a queue.
        """
        deliveries = self._transport.receive(self._queue, wait)
        terminated = {found for one in deliveries if (found := self._terminated(one.body))}
        nodes = _of_instances(self._registry.read().records, terminated) if terminated else []
        for record in nodes:
            self._registry.mark_terminated(record)
            log.info("ec2.terminated", extra={"node": record.identity})
        if deliveries:
            self._transport.acknowledge(self._queue, deliveries)
        if nodes:
            self._done()
        return len(deliveries)

    def _step(self) -> float:
        try:
            self.take(LONGEST_POLL)
        except TransportError as error:
            if self._limiter.allows():
                log.warning("ec2.unreadable", extra={"error": f"events of EC2 cannot be read: {error}"})
            return RETRY
        return 0.0

    def _terminated(self, body: str) -> str | None:
        """Return the terminated instance of an event; None for another event."""
        try:
            return terminated_instance(body)
        except MessageError as error:
            if self._limiter.allows():
                log.warning("ec2.invalid", extra={"error": f"{self._queue}: {error}"})
            return None


def terminated_instance(body: str) -> str | None:
    """Return the id of the instance that an event says is terminated; None if it says something else.

    Raises MessageError if it is not an event of EC2.
    """
    event = bounded_json.parse(body, "event")
    detail = event.get("detail") if isinstance(event, dict) else None
    if not isinstance(detail, dict) or (event.get("source"), event.get("detail-type")) != ("aws.ec2", _NOTIFICATION):
        raise MessageError("event: not a state-change notification of EC2")
    instance, state = detail.get("instance-id"), detail.get("state")
    if not isinstance(instance, str) or not isinstance(state, str):
        raise MessageError("event: instance-id and state must be strings")
    return instance if state == "terminated" else None


def _of_instances(records: Iterable[NodeRecord], instances: set[str]) -> list[NodeRecord]:
    return [record for record in records if not instances.isdisjoint(_instances(record))]


def _instances(record: NodeRecord) -> set[str]:
    """Return the instance of a node, as far as it is known."""
    ec2 = record.facts.get("ec2")
    named = ec2.get("instance_id") if isinstance(ec2, dict) else None
    return {record.identity, named} if isinstance(named, str) else {record.identity}
