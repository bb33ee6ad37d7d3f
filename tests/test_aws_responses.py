"""Successful responses that are not from AWS: every operation of transport and registry is Unreachable, in one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import boto3
import pytest
from support.bad_servers import Page

from collective.aws.session import AWS
from collective.errors import Unreachable
from collective.registry import NodeRecord
from collective.registry.dynamodb import DynamoDBRegistry
from collective.transport.sqs import SQSTransport

NODE = NodeRecord(identity="web1", version="1", instance="i")
KNOWN = "http://127.0.0.1:1/1/p_reply_alice"


@dataclass
class Services:
    """The transport and the registry behind one server; `page` is its response."""

    page: Page
    transport: SQSTransport
    registry: DynamoDBRegistry

    def opened(self) -> SQSTransport:
        """Return the transport with the URL of its queues, as after a successful call."""
        self.transport.open_replies("p_reply_alice", f"{self.page.url} eu-central-1 {KNOWN}")
        return self.transport


@pytest.fixture(scope="module")
def session() -> boto3.Session:
    """Return a session, whose data files take long to read."""
    return boto3.Session(aws_access_key_id="t", aws_secret_access_key="t", region_name="eu-central-1")


@pytest.fixture
def services(session: boto3.Session, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """Return the services behind a server."""
    with Page(b"") as page:
        monkeypatch.setenv("AWS_ENDPOINT_URL", page.url)
        yield Services(page, SQSTransport(AWS(session)), DynamoDBRegistry(AWS(session), "p_nodes"))


OPERATIONS: dict[str, Callable[[Services], object]] = {
    "CreateQueue": lambda services: services.transport.open_replies("p_reply_alice"),
    "GetQueueUrl": lambda services: services.transport.send("p_node_web1", "x"),
    "SendMessage": lambda services: services.opened().send("p_node_web1", "x"),
    "Publish": lambda services: services.opened().broadcast("p_requests", "x"),
    "Subscribe": lambda services: services.opened().check_subscription("p_node_web1", "p_requests"),
    "ReceiveMessage": lambda services: services.opened().receive("p_node_web1", 20.0),
    "GetQueueAttributes": lambda services: services.opened().unread("p_node_web1"),
    "GetTopicAttributes": lambda services: services.opened().check_topic("p_requests"),
    "Scan": lambda services: services.registry.nodes(),
    "PutItem": lambda services: services.registry.put(NODE),
    "UpdateItem": lambda services: services.registry.heartbeat("web1", "i"),
}
PAGES = {
    "a page": b"<html><body><p>Log in<br></body></html>",
    "nothing": b"",
    "an empty object": b"{}",
    "null": b"null",
    "a list": b"[]",
    "a number": b"7",
    "a string": b'"ok"',
    "not UTF-8": b"\xff\xfe\x00",
    "messages that are a number": b'{"Messages": 5, "Items": 5, "Attributes": 5, "QueueUrl": 5, "MessageId": 5}',
    "messages that are numbers": b'{"Messages": [5], "Items": [5], "Attributes": {"a": 5}, "MessageId": []}',
    "a message without a time": b'{"Messages": [{"Body": "x"}], "Items": null, "QueueUrl": "x", "MessageId": {}}',
    "a message with an odd time": b'{"Messages": [{"Attributes": {"SentTimestamp": "nan"}, "ReceiptHandle": "x"}]}',
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("content", PAGES.values(), ids=PAGES.keys())
def test_a_response_that_is_not_from_aws_is_unreachable(services: Services, operation: str, content: bytes) -> None:
    """Whatever the content, the error is one line that names the endpoint's setting."""
    services.page.content = content
    with pytest.raises(Unreachable) as caught:
        OPERATIONS[operation](services)
    assert "not from AWS (check the proxy and AWS_ENDPOINT_URL)" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert services.page.requests == 1


@pytest.mark.parametrize("status", [302, 403, 404, 407, 511])
@pytest.mark.parametrize("operation", ["CreateQueue", "Publish", "Scan"])
def test_an_error_that_is_not_from_aws_is_unreachable(services: Services, operation: str, status: int) -> None:
    """A redirect to a login page, and errors of proxies, are one short line."""
    services.page.content, services.page.status = b"<html>\n" + b"<p>Log in</p>\n" * 1000, status
    with pytest.raises(Unreachable) as caught:
        OPERATIONS[operation](services)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_an_empty_response_is_judged_by_its_type(services: Services) -> None:
    """A response without a request ID is empty only if it has the content type of AWS, as servers for tests send."""
    services.page.content, services.page.kind = b"{}", "application/json"
    with pytest.raises(Unreachable):
        OPERATIONS["ReceiveMessage"](services)
    services.page.kind = "application/x-amz-json-1.0"
    assert OPERATIONS["ReceiveMessage"](services) == []
