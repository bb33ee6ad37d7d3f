"""The receiver of a node's requests, with a transport that behaves worse than the one in memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from collective.node.requests.receiver import Receiver
from collective.transport import WAKE, Delivery
from collective.transport.memory import MemoryTransport


class BlockingTransport(MemoryTransport):
    """Loses packets: sending blocks until the test is over."""

    def __init__(self) -> None:
        super().__init__()
        self.tried, self.over = threading.Event(), threading.Event()

    def send(self, queue: str, body: str) -> None:
        """Block until the test is over."""
        self.tried.set()
        self.over.wait()
        super().send(queue, body)


class RecordingTransport(MemoryTransport):
    """Remembers what was acknowledged."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[str] = []

    def acknowledge(self, queue: str, deliveries: Sequence[Delivery]) -> None:
        """Note what has been acknowledged."""
        self.done += [delivery.body for delivery in deliveries]
        super().acknowledge(queue, deliveries)


def test_a_stop_leaves_unhandled_requests_in_the_queue() -> None:
    """A stop during a batch waits for the request in hand; the others are not acknowledged."""
    transport, handled = RecordingTransport(), list[str]()
    stopper = threading.Thread(target=lambda: receiver.stop())

    def handle(delivery: Delivery) -> None:
        handled.append(delivery.body)
        stopper.start()
        while not receiver.stopping:
            pass
        assert stopper.is_alive()  # it waits for this request

    receiver = Receiver(transport, "queue", "topic", handle)
    receiver.open()
    for body in ("one", "two", "three"):
        transport.send("queue", body)
    receiver.receive_once(1.0)
    stopper.join()
    assert handled == transport.done
    assert len(handled) == 1


def test_a_stop_does_not_wait_for_the_network() -> None:
    """A stop must interrupt running actions in time, even if packets are lost."""
    transport = BlockingTransport()
    receiver = Receiver(transport, "queue", "topic", lambda _: None)
    receiver.stop()
    assert transport.tried.wait(30)
    transport.over.set()


def test_a_wake_message_is_acknowledged_and_reported() -> None:
    """A node that watches this one learns from the acknowledgement that it is alive; nothing is handled."""
    transport, handled, woken = RecordingTransport(), list[str](), list[bool]()
    receiver = Receiver(transport, "queue", "topic", lambda delivery: handled.append(delivery.body))
    receiver.woken = lambda: woken.append(True)
    receiver.open()
    transport.send("queue", WAKE)
    transport.send("queue", WAKE)
    receiver.receive_once(1.0)
    assert (transport.done, handled, woken) == ([WAKE, WAKE], [], [True])
