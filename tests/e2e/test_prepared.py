"""Nodes that may not create a queue use an existing one, or report what to do; a proxy stands in for IAM."""

from __future__ import annotations

import logging
import uuid
from pathlib import Path

import boto3
import pytest
from support.crpc_process import make_crpc
from support.daemons import IDENTITY, aws_environment, configure, daemon
from support.proxy import Proxy

from collective import names
from collective.aws.session import AWS
from collective.errors import Forbidden, Unreachable
from collective.transport.sqs import SQSTransport

MAKING = ("CreateQueue", "SetQueueAttributes", "Subscribe")
SUBSCRIBED = "the existing queue is used; its subscription cannot be checked"


@pytest.fixture
def collective() -> str:
    """Return the name of a unique collective."""
    return f"prep-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def queue(collective: str) -> str:
    """Return the name of a node's queue."""
    return names.node_queue(collective, IDENTITY)


def transport(url: str, monkeypatch: pytest.MonkeyPatch, region: str = "eu-central-1") -> SQSTransport:
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=region)
    return SQSTransport(AWS(session), tags={"collective": "prep"})


@pytest.fixture
def admin(moto_server: str, monkeypatch: pytest.MonkeyPatch) -> SQSTransport:
    """Return a transport with all permissions."""
    return transport(moto_server, monkeypatch)


@pytest.fixture
def node(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> SQSTransport:
    """Return a node's transport behind the proxy."""
    return transport(proxy.url, monkeypatch)


def forbid(proxy: Proxy, *operations: str) -> None:
    for operation in operations:
        proxy.refused[operation] = "AuthorizationError" if operation == "Subscribe" else "AccessDeniedException"


def test_an_existing_queue_is_used(
    admin: SQSTransport, node: SQSTransport, proxy: Proxy, queue: str, collective: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A node that may not create its queue uses the existing one, and logs what was denied and cannot be checked."""
    topic = names.topic(collective)
    admin.create_node(queue, topic, {})
    forbid(proxy, *MAKING)
    with caplog.at_level(logging.INFO, logger="collective"):
        node.open_node(queue, topic)
    [line] = caplog.records
    assert (line.getMessage(), line.levelname) == ("queue.prepared", "INFO")
    assert line.error.endswith(SUBSCRIBED)  # type: ignore[attr-defined]
    assert "CreateQueue" in line.error  # type: ignore[attr-defined]
    admin.broadcast(topic, "hello")
    assert [delivery.body for delivery in node.receive(queue, 5.0)] == ["hello"]


@pytest.mark.parametrize("operation", MAKING)
def test_any_step_of_creating_a_queue_may_be_denied(
    node: SQSTransport, proxy: Proxy, queue: str, collective: str, operation: str
) -> None:
    """Whichever step of creating a queue is denied, what was created before is enough to receive."""
    node.open_node(queue, names.topic(collective))
    forbid(proxy, operation)
    node.open_node(queue, names.topic(collective))
    assert node.receive(queue, 0.0) == []


def test_a_missing_queue_is_an_error_with_a_hint(node: SQSTransport, proxy: Proxy, queue: str, collective: str) -> None:
    """The error for a missing queue has the command and the IAM actions, also when other queues exist."""
    forbid(proxy, "CreateQueue")
    for _ in range(2):
        with pytest.raises(Forbidden) as caught:
            node.open_node(queue, names.topic(collective))
        for part in (queue, "CreateQueue", "'crpc setup --node IDENTITY'", "sqs:GetQueueUrl", "sns:Subscribe"):
            assert part in str(caught.value)
        proxy.refused.clear()
        node.open_replies(names.reply_queue(collective, "x"))
        forbid(proxy, "CreateQueue")
    forbid(proxy, "GetQueueUrl")
    with pytest.raises(Forbidden, match="sqs:GetQueueUrl"):
        node.open_node(queue, names.topic(collective))


def test_an_existing_queue_with_other_attributes_is_a_warning(
    admin: SQSTransport, node: SQSTransport, proxy: Proxy, queue: str, collective: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An existing queue with other attributes is used; if they cannot be read there is no warning."""
    boto3.client(
        "sqs", region_name="eu-central-1", aws_access_key_id="test", aws_secret_access_key="test"
    ).create_queue(QueueName=queue, Attributes={"VisibilityTimeout": "30", "MessageRetentionPeriod": "3900"})
    forbid(proxy, "CreateQueue")
    node.open_node(queue, names.topic(collective))
    [line] = [line for line in caplog.records if line.getMessage() == "queue.attributes"]
    assert line.error == "VisibilityTimeout is 30, must be 5 (repair it with 'crpc setup --node IDENTITY')"  # type: ignore[attr-defined]
    caplog.clear()
    forbid(proxy, "GetQueueAttributes")
    node.open_node(queue, names.topic(collective))
    assert caplog.records == []


def test_throttling_and_a_blocked_name_are_retried(
    node: SQSTransport, proxy: Proxy, queue: str, collective: str
) -> None:
    """After throttling, and while a name is blocked, no existing queue is looked for."""
    proxy.refused["CreateQueue"] = "AWS.SimpleQueueService.QueueDeletedRecently"
    with pytest.raises(Unreachable, match="SQS blocks the name"):
        node.open_node(queue, names.topic(collective))
    proxy.refused = {"Subscribe": "Throttled"}
    with pytest.raises(Unreachable, match="throttled"):
        node.open_node(queue, names.topic(collective))
    assert proxy.counts["GetQueueUrl"] == 0


def test_arns_have_the_partition_of_the_region(proxy: Proxy, monkeypatch: pytest.MonkeyPatch, collective: str) -> None:
    """The ARNs of a region in China have its partition, and the account number from the queue's URL."""
    seen: list[bytes] = []
    proxy.watch = lambda step, content: seen.append(content) if step == "before Subscribe" else None
    topic = names.topic(collective)
    transport(proxy.url, monkeypatch, "cn-north-1").open_node(names.node_queue(collective, "web1"), topic)
    assert f"TopicArn=arn%3Aaws-cn%3Asns%3Acn-north-1%3A123456789012%3A{topic}".encode() in seen[-1]


def test_a_daemon_survives_expired_credentials(proxy: Proxy, tmp_path: Path, collective: str) -> None:
    """A daemon whose credentials have expired logs the error, and serves again with new credentials."""
    configure(tmp_path, collective)
    crpc = make_crpc({**aws_environment(proxy.url), "COLLECTIVE_CONFIG": str(tmp_path)})
    proxy.refused["CreateQueue"] = "ExpiredToken"
    with daemon(tmp_path, proxy.url, serving=False) as node:
        node.wait_for("transport.failed")
        proxy.refused.clear()
        node.wait_for("daemon.serving")
        proxy.refused["ReceiveMessage"] = "ExpiredToken"
        proxy.turn("pass")  # closes the waiting poll
        node.wait_for("transport.failed", 2)
        proxy.refused.clear()
        assert crpc("rpcutil", "ping", "-I", IDENTITY).returncode == 0
        assert all("ExpiredToken" in event["error"] for event in node.events("transport.failed"))
