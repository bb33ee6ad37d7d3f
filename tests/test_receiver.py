"""What receives a node's requests, where its network is worse than a server in memory has it."""

from __future__ import annotations

import threading

from collective.node.receiver import Receiver
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


def test_a_stop_waits_for_no_network() -> None:
    """Whoever stops a node has things to end and little time."""
    transport = Vanishing()
    receiver = Receiver(transport, "queue", "topic", lambda _: None)
    receiver.stop()
    assert transport.tried.wait(10)
    transport.over.set()
