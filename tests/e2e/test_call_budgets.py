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
    """Nodes make three requests to SQS each, the caller few more; few bytes, and no other requests.

    With full receives the caller makes 0.2 requests for each reply (`tests/test_receivers.py`). On a busy machine
    replies arrive one after the other, and it makes up to one.
    """
    for limit, per_node in ((0, 4), (len(NODES), 5)):
        config = ClientConfig(COLLECTIVE, state=tmp_path / "state", registry="none", direct_limit=limit)
        with Fleet(config, SQSTransport(AWS(session()), connections=CONNECTIONS)) as fleet:
            fleet.call("rpcutil", "ping", targets=Targets(nodes=NODES)).wait()  # creates the reply queue
            wait_until(lambda: waiting(proxy), 30)
            counted, sizes = counted_call(fleet, proxy)
        assert sum(counted[name] for name in SQS) <= per_node * len(NODES) + 2, (limit, dict(counted))
        assert (counted["Publish"], counted["GetQueueAttributes"]) == (limit == 0, 0)
        assert counted["SendMessage"] == len(NODES) + limit
        assert sum(sizes) / len(NODES) < 12_000


def counted_call(fleet: Fleet, proxy: Proxy) -> tuple[Counter[str], list[int]]:
    """Return the requests of one call by operation, and the sizes of all requests and responses."""
    sizes: list[int] = []
    before = Counter(proxy.counts)
    proxy.watch = lambda _step, content: sizes.append(len(content))
    assert fleet.call("rpcutil", "ping", targets=Targets(nodes=NODES)).wait().exit_code() == 0
    wait_until(lambda: waiting(proxy), 30)
    counted = Counter(proxy.counts)
    counted.subtract(before)
    return counted, sizes


def waiting(proxy: Proxy) -> bool:
    """Return whether every node polls again, and nothing else is asked."""
    with proxy.lock:
        return len(proxy.waiting) == len(NODES)
