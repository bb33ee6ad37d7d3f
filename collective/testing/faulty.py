"""A network that misbehaves: wrap any transport, say how often what goes wrong, and name a seed.

    transport = FaultyTransport(MemoryTransport(), FaultRates(drop=0.01, duplicate=0.05, delay=0.2), seed=7)
    transport.cut("testing_node_web1")     that queue is out of reach, until …
    transport.heal()
    assert transport.happened["drop"] == len(transport.lost)

Messages suffer when they are received, each copy of a broadcast for itself. What happens to a queue's messages is
drawn from the seed and the queue's name, so that threads that use other queues change nothing about it. Everything
but `drop` and `corrupt` is what SQS may do: it delivers at least once, in any order.
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

_Held = tuple[float, int, Delivery]  # when it is due, a number that keeps the order, what it is


@dataclass(frozen=True)
class FaultRates:
    """Probabilities from 0 to 1, all of them for each message, but `reorder` and `throttle`.

    drop        it is lost for good
    duplicate   it comes a second time, up to `longest_delay` later
    delay       it comes up to `longest_delay` (seconds) later
    corrupt     it is cut short
    reorder     for each batch: it comes in another order
    throttle    for each request: Unreachable, and nothing is done
    """

    drop: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0
    corrupt: float = 0.0
    reorder: float = 0.0
    throttle: float = 0.0
    longest_delay: float = 1.0


class FaultyTransport:
    """Any transport, with faults. `inner.now()` is the clock by which messages are late.

    `happened` counts each kind of fault, `lost` are (queue, body) of what was dropped or cut short, and `delivered`
    counts what was handed out all the same.
    """

    def __init__(self, inner: Transport, problems: FaultRates | None = None, seed: int = 0) -> None:
        self._inner = inner
        self.problems = problems or FaultRates()
        self._seed = seed
        self._dice: dict[str, Random] = {}
        self._held: dict[str, list[_Held]] = {}
        self._numbers = itertools.count()
        self._cut: set[str] | None = set()
        self._lock = threading.Lock()
        self.happened: Counter[str] = Counter()
        self.lost: list[tuple[str, str]] = []
        self.delivered = 0

    def cut(self, *queues: str) -> None:
        """Put queues and topics out of reach; without a name, all there are."""
        self._cut = {*self._cut, *queues} if queues and self._cut is not None else None

    def heal(self) -> None:
        """Let everything be reached again."""
        self._cut = set()

    # -- the protocol

    def now(self) -> float:
        """Return the inner transport's time."""
        return self._inner.now()

    def open_node(self, queue: str, topic: str) -> None:
        """Make and subscribe a queue."""
        self._reach(queue)
        self._inner.open_node(queue, topic)

    def open_replies(self, queue: str, known: str | None = None) -> str:
        """Make a reply queue."""
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
        """Return what has arrived and is not held back, waiting for the first message at most `wait` seconds."""
        self._reach(queue)
        until = time.monotonic() + wait
        while True:
            left = max(0.0, until - time.monotonic())
            for delivery in self._inner.receive(queue, min(left, self._next_due(queue))):
                self._let_in(queue, delivery)
            due = self._due(queue)
            if due or not left:
                return due

    def acknowledge(self, queue: str, deliveries: Sequence[Delivery]) -> None:
        """Remove messages."""
        self._reach(queue)
        self._inner.acknowledge(queue, deliveries)

    def unread(self, queue: str) -> int:
        """Return how many messages lie in a queue; those that are held back count as read."""
        self._reach(queue)
        return self._inner.unread(queue)

    # -- what goes wrong

    def _happens(self, kind: str, name: str) -> bool:
        """Throw the dice of a queue for one kind of fault."""
        chance: float = getattr(self.problems, kind)
        if not chance:
            return False
        with self._lock:
            happens = self._dice_of(name).random() < chance
            self.happened[kind] += happens
        return happens

    def _dice_of(self, name: str) -> Random:
        return self._dice.setdefault(name, Random(f"{self._seed} {name}"))  # noqa: S311 - no secrets here

    def _reach(self, name: str) -> None:
        if self._cut is None or name in self._cut:
            raise Unreachable(f"{name}: cut off")
        if self._happens("throttle", name):
            raise Unreachable(f"{name}: ThrottlingException: Rate exceeded")

    def _let_in(self, queue: str, delivery: Delivery) -> None:
        if self._happens("drop", queue):
            self.lost.append((queue, delivery.body))
            self._inner.acknowledge(queue, [delivery])
            return
        if self._happens("corrupt", queue):
            # Cut short, for without signatures any other change might pass for a message.
            self.lost.append((queue, delivery.body))
            delivery = replace(delivery, body=delivery.body[: len(delivery.body) // 2])
        self._hold(queue, delivery, late=self._happens("delay", queue))
        if self._happens("duplicate", queue):
            self._hold(queue, delivery, late=True)

    def _hold(self, queue: str, delivery: Delivery, late: bool) -> None:
        with self._lock:
            delay = self._dice_of(queue).uniform(0, self.problems.longest_delay) if late else 0.0
            held = self._held.setdefault(queue, [])
            heapq.heappush(held, (self.now() + delay, next(self._numbers), delivery))

    def _next_due(self, queue: str) -> float:
        """Return how many seconds it is until a message that is held back is due."""
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
                self._dice_of(queue).shuffle(due)
        return due
