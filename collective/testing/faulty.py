"""Wrap a transport so that it loses, repeats, delays or corrupts messages, at given rates and repeatably.

    transport = FaultyTransport(MemoryTransport(), FaultRates(drop=0.01, duplicate=0.05, delay=0.2), seed=7)
    transport.cut("testing_node_web1")     this queue is unreachable, until …
    transport.heal()
    assert transport.counts["drop"] == len(transport.lost)

Faults happen when messages are received, independently for each copy of a broadcast. The faults of a queue depend on
the seed and the queue's name only, so that threads that use other queues have no influence. All of them except `drop`
and `corrupt` are allowed for SQS, which delivers at least once and in any order.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from collective.errors import Unreachable
from collective.transport import BATCH, Delivery, Transport

_Held = tuple[float, int, Delivery]  # the time of delivery, a number that keeps the order, the message


@dataclass(frozen=True)
class FaultRates:
    """Probabilities from 0 to 1, for each message except where noted.

    drop        the message is lost
    duplicate   it is delivered again, up to `longest_delay` later
    delay       it is delivered up to `longest_delay` (seconds) later
    corrupt     it is truncated
    reorder     for each batch: the order changes
    throttle    for each request: Unreachable is raised
    """

    drop: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0
    corrupt: float = 0.0
    reorder: float = 0.0
    throttle: float = 0.0
    longest_delay: float = 1.0


class FaultyTransport:
    """The transport `inner`, with faults; messages are delayed by the clock of `inner.now()`.

    `counts` are the faults by kind; `lost` are the (queue, body) of messages that were dropped or truncated;
    `delivered` is the number of delivered messages.
    """

    def __init__(self, inner: Transport, rates: FaultRates | None = None, seed: int = 0) -> None:
        self._inner = inner
        self.rates = rates or FaultRates()
        self._seed = seed
        self._randoms: dict[str, Random] = {}
        self._held: dict[str, list[_Held]] = {}
        self._numbers = itertools.count()
        self._cut: set[str] | None = set()
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self.lost: list[tuple[str, str]] = []
        self.delivered = 0

    def cut(self, *queues: str) -> None:
        """Make queues and topics unreachable; without arguments, all of them."""
        self._cut = {*self._cut, *queues} if queues and self._cut is not None else None

    def heal(self) -> None:
        """Make everything reachable again."""
        self._cut = set()

    # -- the protocol

    @property
    def installation(self) -> str:
        """Where the inner transport is."""
        return self._inner.installation

    @property
    def connections(self) -> int:
        """As many threads as the inner transport allows."""
        return self._inner.connections

    def now(self) -> float:
        """Return the time of the inner transport."""
        return self._inner.now()

    def open_node(self, queue: str, topic: str) -> None:
        """Create and subscribe a queue."""
        self._reach(queue)
        self._inner.open_node(queue, topic)

    def check_subscription(self, queue: str, topic: str) -> None:
        """Repair a queue's subscription."""
        self._reach(queue)
        self._inner.check_subscription(queue, topic)

    def open_replies(self, queue: str, known: str | None = None) -> str:
        """Create a reply queue."""
        self._reach(queue)
        return self._inner.open_replies(queue, known)

    def send(self, queue: str, body: str) -> None:
        """Send to a queue."""
        self._reach(queue)
        self._inner.send(queue, body)

    def broadcast(self, topic: str, body: str) -> None:
        """Send to every queue of a topic."""
        self._reach(topic)
        self._inner.broadcast(topic, body)

    def receive(self, queue: str, wait: float) -> list[Delivery]:
        """Return messages that are due, waiting at most `wait` seconds for the first one."""
        self._reach(queue)
        until = time.monotonic() + wait
        while True:
            left = max(0.0, until - time.monotonic())
            for delivery in self._inner.receive(queue, min(left, self._next_due(queue))):
                self._accept(queue, delivery)
            due = self._due(queue)
            if due or not left:
                return due

    def acknowledge(self, queue: str, deliveries: Sequence[Delivery]) -> None:
        """Delete messages."""
        self._reach(queue)
        self._inner.acknowledge(queue, deliveries)

    def unread(self, queue: str) -> int:
        """Return the number of unread messages in a queue; delayed messages count as read."""
        self._reach(queue)
        return self._inner.unread(queue)

    def unacknowledged(self, queue: str) -> int:
        """Return the number of messages in a queue that were not acknowledged; delayed ones count as acknowledged."""
        self._reach(queue)
        return self._inner.unacknowledged(queue)

    # -- faults

    def _happens(self, kind: str, name: str) -> bool:
        """Decide at random whether a fault happens, with the queue's own random numbers."""
        rate: float = getattr(self.rates, kind)
        if not rate:
            return False
        with self._lock:
            happens = self._random(name).random() < rate
            self.counts[kind] += happens
        return happens

    def _random(self, name: str) -> Random:
        return self._randoms.setdefault(name, Random(f"{self._seed} {name}"))  # noqa: S311 - must be repeatable, not secret

    def _reach(self, name: str) -> None:
        if self._cut is None or name in self._cut:
            raise Unreachable(f"{name}: unreachable (cut)")
        if self._happens("throttle", name):
            raise Unreachable(f"{name}: ThrottlingException: Rate exceeded")

    def _accept(self, queue: str, delivery: Delivery) -> None:
        if self._happens("drop", queue):
            self.lost.append((queue, delivery.body))
            self._inner.acknowledge(queue, [delivery])
            return
        if self._happens("corrupt", queue):
            # Truncated, because without signatures any other change could result in a valid message.
            self.lost.append((queue, delivery.body))
            delivery = replace(delivery, body=delivery.body[: len(delivery.body) // 2])
        self._hold(queue, delivery, late=self._happens("delay", queue))
        if self._happens("duplicate", queue):
            self._hold(queue, delivery, late=True)

    def _hold(self, queue: str, delivery: Delivery, late: bool) -> None:
        with self._lock:
            delay = self._random(queue).uniform(0, self.rates.longest_delay) if late else 0.0
            held = self._held.setdefault(queue, [])
            heapq.heappush(held, (self.now() + delay, next(self._numbers), delivery))

    def _next_due(self, queue: str) -> float:
        """Return the seconds until the next delayed message is due."""
        held = self._held.get(queue)
        return max(0.0, held[0][0] - self.now()) if held else float("inf")

    def _due(self, queue: str) -> list[Delivery]:
        due: list[Delivery] = []
        with self._lock:
            held, now = self._held.get(queue, []), self.now()
            while held and held[0][0] <= now and len(due) < BATCH:
                due.append(replace(heapq.heappop(held)[2], received=now))
            self.delivered += len(due)
        if len(due) > 1 and self._happens("reorder", queue):
            with self._lock:
                self._random(queue).shuffle(due)
        return due
