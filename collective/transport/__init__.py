"""The transport protocol: how messages move. It is implemented in memory, and over SQS and SNS.

    caller   open_replies ─ send / broadcast ─ receive ─ acknowledge
    node     open_node ──── receive ─ acknowledge ─ send

Delivery is at least once and unordered: a receiver must expect every message again until it has acknowledged it, and
sometimes afterwards. `tests/support/transport_contract.py` tests what every implementation must do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from collective.errors import MessageTooLarge

WAKE = "wake"  # the body of a message that makes a node acknowledge it, and send a heartbeat; it is not signed
LONGEST_POLL = 20.0  # seconds of one long poll; SQS developer guide: the maximum
NODE_VISIBILITY = 5  # seconds for which a received request is hidden; short, because a poll may die with its client
REPLY_VISIBILITY = 2  # seconds for which a received reply is hidden
NODE_RETENTION = 3900  # seconds for which an unread request is kept: the maximum TTL and a margin
REPLY_RETENTION = 300  # seconds for which an unread reply is kept, in case its caller died
BATCH = 10  # messages; SQS developer guide: the maximum for one receive and for one batch of deletions
LONGEST_CALL = 300.0  # seconds after which a service has answered or Unreachable is raised
SEND_LIMIT = 1024 * 1024  # bytes; SQS: the maximum size of a message
BROADCAST_LIMIT = 256 * 1024  # bytes; SNS: the maximum size of a message


@dataclass(frozen=True)
class Delivery:
    """A received message. Both times are Unix seconds by the server's clock, so their difference is its age."""

    body: str
    sent: float
    received: float
    receipt: str


class Transport(Protocol):
    """Moves messages between callers and nodes. Queues and topics are given by name.

    Every method may raise Unreachable and AccessDenied; all but `now` and the `open` methods also NotFound.
    """

    @property
    def installation(self) -> str:
        """What distinguishes these queues from those of the same names elsewhere: the account and the region.

        It is part of every signed request, and known once `open_node` or `open_replies` has succeeded.
        """
        ...

    @property
    def connections(self) -> int:
        """How many threads may use it at the same time."""
        ...

    def now(self) -> float:
        """Return the server's time in Unix seconds."""
        ...

    def open_node(self, queue: str, topic: str) -> None:
        """Create a node's queue, unless it exists, and subscribe it to `topic`.

        Without the permission to create it, an existing queue is used as it is.
        """
        ...

    def check_subscription(self, queue: str, topic: str) -> None:
        """Repair a node queue's subscription, and the topic, if they were removed.

        Without the permission to subscribe, nothing is done.
        """
        ...

    def open_replies(self, queue: str, known: str | None = None) -> str:
        """Create a reply queue, unless it exists; return a value that saves the next call this request, as `known`."""
        ...

    def send(self, queue: str, body: str) -> None:
        """Send a message to a queue. Raises MessageTooLarge above SEND_LIMIT."""
        ...

    def broadcast(self, topic: str, body: str) -> None:
        """Send a message to every queue of a topic. Raises MessageTooLarge above BROADCAST_LIMIT."""
        ...

    def receive(self, queue: str, wait: float) -> list[Delivery]:
        """Return up to BATCH messages as soon as there are any, or none after `wait` seconds."""
        ...

    def acknowledge(self, queue: str, deliveries: Sequence[Delivery]) -> None:
        """Delete received messages."""
        ...

    def unread(self, queue: str) -> int:
        """Return the approximate number of unread messages in a queue."""
        ...

    def unacknowledged(self, queue: str) -> int:
        """Return the approximate number of messages in a queue, unread or received, that were not acknowledged.

        A poll whose client died takes a message without acknowledging it: it does not count as unread for a while.
        """
        ...


def check_size(body: str, limit: int) -> None:
    """Raise MessageTooLarge for a message of more than `limit` bytes."""
    size = len(body.encode())
    if size > limit:
        raise MessageTooLarge(size, limit)
