"""Responses that are not from AWS reach a running daemon, and a topic is removed under it: it pauses, and repairs."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from support import failures
from support.crpc_process import Crpc, make_crpc
from support.daemons import IDENTITY, Daemon, aws_environment, configure, daemon
from support.proxy import Proxy
from support.waiting import wait_until

from collective import names
from collective.node.backoff import LONGEST

HEARTBEAT = 2.0  # seconds
WATCHED = 6.0  # seconds


@pytest.fixture
def collective(tmp_path: Path) -> str:
    """The name of a configured collective."""
    name = f"portal-{uuid.uuid4().hex[:8]}"
    configure(tmp_path, collective=name, heartbeat=HEARTBEAT)
    return name


@pytest.fixture
def proxy(moto_server: str) -> Iterator[Proxy]:
    """The server of daemon and caller."""
    with Proxy(moto_server) as proxy:
        yield proxy


@pytest.fixture
def node(tmp_path: Path, collective: str, proxy: Proxy) -> Iterator[Daemon]:
    """A daemon behind the proxy."""
    with daemon(tmp_path, proxy.url) as running:
        yield running


@pytest.fixture
def crpc(tmp_path: Path, proxy: Proxy) -> Crpc:
    """A caller behind the same proxy."""
    return make_crpc({**aws_environment(proxy.url), "COLLECTIVE_CONFIG": str(tmp_path)})


@pytest.mark.parametrize("content", [b"<html>Log in</html>", b"", b"{}", b"null", b"[]", b'{"Messages": 5}'])
@pytest.mark.failure(failures.NETWORK, "a login portal answers in place of AWS")
def test_the_daemon_pauses_and_serves_again(crpc: Crpc, node: Daemon, proxy: Proxy, content: bytes) -> None:
    """Requests and log lines are few while the network requires a login; afterwards the daemon serves again."""
    proxy.answer = lambda _operation, _request: content
    proxy.turn("pass")  # ends the pending poll
    node.wait_for("transport.failed", 2)
    before, logged = proxy.counts.total(), len(node.log.splitlines())
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began > WATCHED, 2 * WATCHED)
    assert proxy.counts.total() - before < 20
    assert len(node.log.splitlines()) - logged < 20
    done = crpc("rpcutil", "ping", "-I", IDENTITY)
    assert (done.returncode, done.stderr.count("\n")) == (69, 1)
    assert "not from AWS" in done.stderr
    proxy.answer = lambda _operation, _request: None
    polls = proxy.counts["ReceiveMessage"]
    wait_until(lambda: proxy.counts["ReceiveMessage"] > polls, 2 * LONGEST)
    assert crpc("rpcutil", "ping", "-I", IDENTITY, "-t", "60").returncode == 0, node.log
    assert node.process.poll() is None


@pytest.mark.parametrize("removed", ["topic", "subscription"])
@pytest.mark.failure(failures.AWS, "the topic, or a subscription, is removed")
def test_a_removed_topic_or_subscription_is_repaired(
    crpc: Crpc, node: Daemon, proxy: Proxy, collective: str, removed: str
) -> None:
    """Broadcasts reach the node again after one heartbeat, and the log says so once."""
    sns = boto3.client(
        "sns",
        endpoint_url=proxy.url,
        region_name="eu-central-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    arn = f"arn:aws:sns:eu-central-1:123456789012:{names.topic(collective)}"
    assert crpc("ping", "--dm", "broadcast", "--dt", "3").returncode == 0
    if removed == "topic":
        sns.delete_topic(TopicArn=arn)
    else:
        for subscription in sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]:
            sns.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])
    node.wait_for("subscription.repaired", seconds=5 * HEARTBEAT)
    assert crpc("ping", "--dm", "broadcast", "--dt", "3").returncode == 0
    count = proxy.counts["Subscribe"]
    wait_until(lambda: proxy.counts["Subscribe"] > count + 1, 5 * HEARTBEAT)
    assert len(node.events("subscription.repaired")) == 1
