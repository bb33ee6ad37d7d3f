"""What a call costs in requests and bytes, counted at a proxy: these do not depend on the machine."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from support.daemons import aws_environment
from support.proxy import Proxy
from support.waiting import wait_until

from collective.aws.session import AWS
from collective.config import ClientConfig
from collective.fleet.connection import CONNECTIONS
from collective.fleet.fleet import Fleet
from collective.fleet.targets import Targets
from collective.testing import COLLECTIVE, make_node, node_parts
from collective.transport.sqs import SQSTransport

NODES = [f"node{number:02}" for number in range(24)]  # more than one thread receives their replies
SQS = ("SendMessage", "ReceiveMessage", "DeleteMessageBatch", "GetQueueAttributes", "GetQueueUrl", "CreateQueue")


@pytest.fixture
def nodes(tmp_path: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run nodes in threads, which wait for requests."""
    for name, value in aws_environment(proxy.url).items():
        monkeypatch.setenv(name, value)
    parts = node_parts(tmp_path)
    transport = SQSTransport(AWS(session()), connections=3 * len(NODES))
    servers = [make_node(tmp_path, name, transport, {}, parts) for name in NODES]
    for server in servers:
        server.open()
        threading.Thread(target=server.serve, daemon=True).start()
    yield
    for server in servers:
        server.stop(0)


def session() -> boto3.Session:
    """Return a session for the server."""
    return boto3.Session(aws_access_key_id="t", aws_secret_access_key="t", region_name="eu-central-1")


@pytest.mark.usefixtures("nodes")
def test_a_call_costs_few_requests(tmp_path: Path, proxy: Proxy) -> None:
    """Published, a call costs 3.2 requests to SQS for each node, and 4.2 if each node is sent a message.

    Nodes receive, delete and reply; the caller receives and deletes ten replies with each request. All replies are in
    the queue before the first is received: how many receives return fewer depends on the machine.
    """
    for limit, per_node in ((0, 3.2), (len(NODES), 4.2)):
        config = ClientConfig(COLLECTIVE, state=tmp_path / "state", registry="none", direct_limit=limit)
        with Fleet(config, SQSTransport(AWS(session()), connections=CONNECTIONS)) as fleet:
            first = fleet.call("rpcutil", "ping", targets=Targets(nodes=NODES))  # creates the reply queue
            first.wait()
            first.settle()
            wait_until(lambda: waiting(proxy), 30)
            counted, sizes = counted_call(fleet, proxy, sent=len(NODES) + limit)
        assert sum(counted[name] for name in SQS) <= per_node * len(NODES) + 2, (
            limit,
            {name: counted[name] for name in SQS},
        )
        assert (counted["Publish"], counted["GetQueueAttributes"]) == (limit == 0, 0)
        assert counted["SendMessage"] == len(NODES) + limit
        assert counted["DeleteMessageBatch"] == len(NODES) + 3
        assert sum(sizes) / len(NODES) < 12_000


def counted_call(fleet: Fleet, proxy: Proxy, sent: int) -> tuple[Counter[str], list[int]]:
    """Return the requests of one call by operation, and the sizes of all requests and responses.

    Replies are received when `sent` messages have been sent.
    """
    sizes: list[int] = []
    arrived = threading.Semaphore(0)
    complete = threading.Event()

    def watch(step: str, content: bytes) -> None:
        sizes.append(len(content))
        if step == "after SendMessage":
            arrived.release()
        if step == "before ReceiveMessage" and b"_reply_" in content and not complete.is_set():
            assert all(arrived.acquire(timeout=30) for _ in range(sent))
            complete.set()

    before = Counter(proxy.counts)
    proxy.watch = watch
    call = fleet.call("rpcutil", "ping", targets=Targets(nodes=NODES))
    assert call.wait().exit_code() == 0
    call.settle()
    wait_until(lambda: waiting(proxy), 30)
    counted = Counter(proxy.counts)
    counted.subtract(before)
    proxy.watch = lambda _step, _content: None
    return counted, sizes


def waiting(proxy: Proxy) -> bool:
    """Return whether every node polls again, and nothing else is asked."""
    with proxy.lock:
        return len(proxy.waiting) == len(NODES)
