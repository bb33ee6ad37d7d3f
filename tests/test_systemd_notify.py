"""Notifications to the service manager, received by a real datagram socket."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.notify_socket import Listener
from support.waiting import wait_until

from collective.aws.session import DEFAULT_TIMEOUTS
from collective.node.requests.receiver import Receiver
from collective.node.service.registration import Registration
from collective.node.service.status import StatusReporter
from collective.node.service.systemd import ServiceManager
from collective.registry.memory import MemoryRegistry
from collective.testing import FaultyTransport, Network
from collective.testing.nodes import record
from collective.transport import LONGEST_CALL
from collective.transport.memory import MemoryTransport


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    """A service manager at a path or at an abstract address."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@collective-test-{os.getpid()}"
    listener = Listener(address)
    with listener.socket:
        yield listener


def test_each_notification_is_one_datagram(listener: Listener) -> None:
    """A datagram has one assignment of sd_notify(3) per line."""
    manager = ServiceManager(listener.address)
    manager.ready("receiving")
    assert listener.receive() == ["READY=1", "STATUS=receiving"]
    manager.reloading()
    first, second = listener.receive()
    assert (first, second.partition("=")[0]) == ("RELOADING=1", "MONOTONIC_USEC")
    manager.alive()
    assert listener.receive() == ["WATCHDOG=1"]
    manager.stopping()
    assert listener.receive()[0] == "STOPPING=1"


def test_the_variables_of_systemd_are_removed_from_the_environment() -> None:
    """Actions do not inherit the variables; a watchdog for another process is ignored."""
    pid = str(os.getpid())
    environment = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": pid, "PATH": "/bin"}
    assert ServiceManager.of(environment).watchdog == 60
    assert environment == {"PATH": "/bin"}
    assert ServiceManager.of({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}).watchdog is None
    assert ServiceManager.of({"WATCHDOG_USEC": "1"}).watchdog is None


def test_a_missing_service_manager_causes_no_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without systemd nothing is sent; a notification that cannot be sent is logged."""
    ServiceManager(None).ready("receiving")
    assert caplog.records == []
    ServiceManager(str(tmp_path / "gone")).ready("receiving")
    assert [line.message for line in caplog.records] == ["systemd.notify_failed"]


def reporting(network: Network, listener: Listener, stuck: float = LONGEST_CALL) -> StatusReporter:
    node = network.nodes["web1"]
    registration = Registration(MemoryRegistry(), lambda: record(node), 300)
    registration.start()
    return StatusReporter(ServiceManager(listener.address, watchdog=0.3), node, registration, stuck)


def test_a_node_reports_ready_when_it_receives_and_then_alive(network: Network, listener: Listener) -> None:
    """READY is followed by WATCHDOG three times per timeout, and by STOPPING at the end."""
    report = reporting(network, listener)
    report.start()
    status = f"STATUS=receiving from {network.nodes['web1'].queue}"
    assert listener.receive() == ["READY=1", status]
    assert [listener.receive(), listener.receive()] == [["WATCHDOG=1"]] * 2
    report.stop()
    while listener.receive() == ["WATCHDOG=1"]:
        pass
    assert listener.received[-1][0] == "STOPPING=1"


def test_a_stuck_receiver_does_not_report_alive(network: Network, listener: Listener) -> None:
    """A receiver stuck for longer than any call can take is reported once, without WATCHDOG."""
    node = network.nodes["web1"]
    wait_until(lambda: node.receiver.silent_for() > 0.05, 30)  # in its long poll
    report = reporting(network, listener, stuck=0.05)
    report.report()
    assert listener.receive()[0].startswith("STATUS=stuck: no progress of the receiving thread")
    report.report()
    with pytest.raises(TimeoutError):
        listener.receive(0.1)


def test_a_receiver_with_an_unreachable_transport_is_not_stuck() -> None:
    """The receiver retries, and its status has the error."""
    time = [0.0]
    transport = FaultyTransport(MemoryTransport())
    transport.cut()
    receiver = Receiver(transport, "queue", "topic", lambda _: None, clock=lambda: time[0])
    assert receiver.status == "opening its queue"
    time[0] = 1000.0
    thread = threading.Thread(target=receiver.open)
    thread.start()
    assert receiver.tried.wait(30)
    assert receiver.silent_for() == 0
    assert receiver.status == "transport unreachable: queue: unreachable (cut)"
    transport.heal()
    thread.join(30)
    assert receiver.status == "receiving from queue"


def test_no_call_takes_longer_than_the_limit_for_a_stuck_receiver() -> None:
    """LONGEST_CALL includes all attempts of botocore, its backoff (1, 2, 4 s), and 30 s of DNS before each attempt."""
    tries = DEFAULT_TIMEOUTS.attempts * (30 + DEFAULT_TIMEOUTS.connect + DEFAULT_TIMEOUTS.read)
    assert tries + 1 + 2 + 4 <= LONGEST_CALL
