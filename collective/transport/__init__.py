"""How messages move: one narrow protocol, implemented in memory and over SQS and SNS.

    caller   open_replies ─ send / broadcast ─ receive ─ acknowledge
    node     open_node ──── receive ─ acknowledge ─ send

Delivery is at least once and in no order; whoever receives must expect a message again until it is acknowledged,
and sometimes after. `tests/contract.py` holds what every implementation must do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

NODE_VISIBILITY = 5  # seconds that a received request stays hidden: what a died poll swallows comes back soon
REPLY_VISIBILITY = 2  # seconds that a received reply stays hidden
NODE_RETENTION = 3900  # seconds that an unread request is kept: the longest ttl and some
REPLY_RETENTION = 300  # seconds that an unread reply is kept: a caller that died leaves nothing behind
BATCH = 10  # messages; SQS developer guide: the most that one receive returns or one batch deletes
LONGEST_POLL = 20  # seconds; SQS developer guide: the longest wait of one receive
LONGEST_CALL = 300.0  # seconds within which a service has answered or is Unreachable, however the network fails
SEND_LIMIT = 1024 * 1024  # bytes; SQS: the largest message
BROADCAST_LIMIT = 256 * 1024  # bytes; SNS: the largest message


@dataclass(frozen=True)
class Delivery:
    """One message as it arrived. Both times are Unix seconds by the server's clock, so their difference is its age."""

    body: str
    sent: float
    received: float
    receipt: str


class Transport(Protocol):
    """What the two sides ask of whatever moves their messages. Queues and topics are given by name.

    Every method may raise Unreachable, AccessDenied, or QueueNotFound (send, receive and unread only).
    """

    def now(self) -> float:
        """Return the server's time in Unix seconds."""
        ...

    def open_node(self, queue: str, topic: str) -> None:
        """Make a node's queue, unless it exists, and have it receive what is broadcast to `topic`.

        Where we may not, a queue that somebody has prepared is good enough.
        """
        ...

    def open_replies(self, queue: str, known: str | None = None) -> str:
        """Make a reply queue, unless it exists, and return what lets the next call save itself this request."""
        ...

    def send(self, queue: str, body: str) -> None:
        """Send one message to one queue. Raise MessageTooLarge beyond SEND_LIMIT."""
        ...

    def broadcast(self, topic: str, body: str) -> None:
        """Send one message to every queue of a topic. Raise MessageTooLarge beyond BROADCAST_LIMIT."""
        ...

    def receive(self, queue: str, wait: float) -> list[Delivery]:
        """Return up to BATCH messages, as soon as there is one; after `wait` seconds, none."""
        ...

    def acknowledge(self, queue: str, deliveries: Sequence[Delivery]) -> None:
        """Remove received messages for good."""
        ...

    def unread(self, queue: str) -> int:
        """Return about how many messages lie in a queue that nobody has received."""
        ...
