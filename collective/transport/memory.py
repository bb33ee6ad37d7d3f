"""An in-memory transport for tests: moves messages between threads of one process, and behaves like SQS.

A received message is hidden until it is acknowledged, a queue must be opened before it exists, and the size limits are
those of SQS and SNS.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from collective.errors import NotFound
from collective.parallel import THREADS
from collective.transport import (
    BATCH,
    BROADCAST_LIMIT,
    NODE_VISIBILITY,
    REPLY_VISIBILITY,
    SEND_LIMIT,
    Delivery,
    check_size,
)

INSTALLATION = "memory"


@dataclass
class _Message:
    body: str
    sent: float
    visible_from: float
    receipt: str


@dataclass
class _Queue:
    visibility: float
    messages: list[_Message] = field(default_factory=list)


class MemoryTransport:
    """Queues and topics in memory. One instance is the whole network, shared by nodes and callers.

    `sent` counts the messages sent to each queue or topic.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._queues: dict[str, _Queue] = {}
        self._topics: dict[str, set[str]] = {}
        self._arrived = threading.Condition()
        self._receipts = itertools.count()
        self._closed = False
        self.sent: dict[str, int] = {}

    @property
    def installation(self) -> str:
        """Return the same for every transport in memory."""
        return INSTALLATION

    @property
    def connections(self) -> int:
        """As many threads as callers use."""
        return THREADS

    def now(self) -> float:
        """Return the time in Unix seconds."""
        return self._clock()

    def open_node(self, queue: str, topic: str) -> None:
        """Create and subscribe the queue."""
        with self._arrived:
            self._queues.setdefault(queue, _Queue(NODE_VISIBILITY))
            self._topics.setdefault(topic, set()).add(queue)

    def check_subscription(self, queue: str, topic: str) -> None:
        """Subscribe the queue, unless it is subscribed."""
        with self._arrived:
            self._topics.setdefault(topic, set()).add(queue)

    def remove_topic(self, topic: str) -> None:
        """Delete a topic with its subscriptions, as an administrator of the account can."""
        with self._arrived:
            self._topics.pop(topic, None)

    def open_replies(self, queue: str, known: str | None = None) -> str:
        """Create the queue."""
        with self._arrived:
            self._queues.setdefault(queue, _Queue(REPLY_VISIBILITY))
        return known or queue

    def send(self, queue: str, body: str) -> None:
        """Put a message into a queue."""
        check_size(body, SEND_LIMIT)
        with self._arrived:
            self._put(queue, body)
            self._count(queue)

    def broadcast(self, topic: str, body: str) -> None:
        """Put a message into every queue of a topic."""
        check_size(body, BROADCAST_LIMIT)
        with self._arrived:
            if topic not in self._topics:
                raise NotFound("topic", topic)
            for queue in self._topics[topic]:
                self._put(queue, body)
            self._count(topic)

    def receive(self, queue: str, wait: float) -> list[Delivery]:
        """Return visible messages, waiting at most `wait` seconds for the first one."""
        until = time.monotonic() + wait
        with self._arrived:
            while True:
                taken = self._take(queue)
                left = until - time.monotonic()
                if taken or left <= 0 or self._closed:
                    return taken
                # A hidden message becomes visible without a notification.
                self._arrived.wait(min(left, 0.1))

    def acknowledge(self, queue: str, deliveries: Sequence[Delivery]) -> None:
        """Delete received messages."""
        receipts = {delivery.receipt for delivery in deliveries}
        with self._arrived:
            found = self._find(queue)
            found.messages = [message for message in found.messages if message.receipt not in receipts]

    def unread(self, queue: str) -> int:
        """Return the number of visible messages."""
        now = self._clock()
        with self._arrived:
            return sum(message.visible_from <= now for message in self._find(queue).messages)

    def unacknowledged(self, queue: str) -> int:
        """Return the number of messages."""
        with self._arrived:
            return len(self._find(queue).messages)

    def close(self) -> None:
        """End every wait, current and future."""
        with self._arrived:
            self._closed = True
            self._arrived.notify_all()

    def _put(self, queue: str, body: str) -> None:
        now = self._clock()
        message = _Message(body, sent=now, visible_from=now, receipt="")
        self._find(queue).messages.append(message)
        self._arrived.notify_all()

    def _take(self, queue: str) -> list[Delivery]:
        now = self._clock()
        found = self._find(queue)
        visible = [message for message in found.messages if message.visible_from <= now][:BATCH]
        for message in visible:
            message.visible_from = now + found.visibility
            message.receipt = str(next(self._receipts))
        return [Delivery(message.body, message.sent, now, message.receipt) for message in visible]

    def _find(self, queue: str) -> _Queue:
        if queue not in self._queues:
            raise NotFound("queue", queue)
        return self._queues[queue]

    def _count(self, name: str) -> None:
        self.sent[name] = self.sent.get(name, 0) + 1
