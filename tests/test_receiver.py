"""What receives a node's requests, where its network is worse than a server in memory has it."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from collective.node.requests.receiver import Receiver
from collective.transport import Delivery
from collective.transport.memory import MemoryTransport


class Vanishing(MemoryTransport):
    """Packets get lost: whoever sends waits for an answer that does not come."""

    def __init__(self) -> None:
        super().__init__()
        self.tried, self.over = threading.Event(), threading.Event()

    def send(self, queue: str, body: str) -> None:
        """Wait until the test is over."""
        self.tried.set()
        self.over.wait()
        super().send(queue, body)


class Acknowledging(MemoryTransport):
    """Remembers what was acknowledged."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[str] = []

    def acknowledge(self, queue: str, deliveries: Sequence[Delivery]) -> None:
        """Note what needs not come again."""
        self.done += [delivery.body for delivery in deliveries]
        super().acknowledge(queue, deliveries)


def test_what_a_stop_leaves_unhandled_comes_again() -> None:
    """A stop in the middle of a batch waits for the request in hand; the others are for the next daemon."""
    transport, handled = Acknowledging(), list[str]()
    stopper = threading.Thread(target=lambda: receiver.stop())

    def handle(delivery: Delivery) -> None:
        handled.append(delivery.body)
        stopper.start()
        while not receiver.stopping:
            pass
        assert stopper.is_alive()  # it waits for us

    receiver = Receiver(transport, "queue", "topic", handle)
    receiver.open()
    for body in ("one", "two", "three"):
        transport.send("queue", body)
    receiver.receive_once(1.0)
    stopper.join()
    assert handled == transport.done
    assert len(handled) == 1


def test_a_stop_waits_for_no_network() -> None:
    """Whoever stops a node has things to end and little time."""
    transport = Vanishing()
    receiver = Receiver(transport, "queue", "topic", lambda _: None)
    receiver.stop()
    assert transport.tried.wait(10)
    transport.over.set()
