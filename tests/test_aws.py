"""What AWS says, in our errors; and what is wrong with our own settings, before anybody is asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import boto3
import pytest
from botocore.exceptions import ClientError

from collective.aws import AWS, translated
from collective.errors import (
    AccessDenied,
    CollectiveError,
    ConfigError,
    Forbidden,
    NotFound,
    TransportError,
    Unreachable,
)
from collective.registry.dynamodb import DynamoDBRegistry
from collective.setup.aws_inventory import Cloud
from collective.transport.sqs import SQSTransport

DENIED = "User: arn:aws:iam::1:user/x is not authorized to perform: sqs:createqueue"


def said(code: str, message: str = "…") -> CollectiveError:
    """Return what becomes of an error that a service answers with."""
    with pytest.raises(TransportError) as caught, translated("p_requests"):
        raise ClientError({"Error": {"Code": code, "Message": message}}, "CreateQueue")
    return caught.value


@pytest.mark.parametrize(
    "code",
    ["Throttling", "ThrottlingException", "Throttled", "RequestThrottled", "ProvisionedThroughputExceededException"],
)
def test_throttling_is_said_so(code: str) -> None:
    """Each service has its own word for it; all of them are worth another try."""
    error = said(code, "Rate exceeded")
    assert type(error) is Unreachable
    assert str(error) == f"p_requests: throttled by AWS: {code}: Rate exceeded"


@pytest.mark.parametrize("code", ["AWS.SimpleQueueService.QueueDeletedRecently", "QueueDeletedRecently"])
def test_a_name_that_cannot_return_yet_is_waited_for(code: str) -> None:
    """A node that was pruned and comes back at once tries again."""
    error = said(code)
    assert type(error) is Unreachable
    assert "deleted less than 60 s ago" in str(error)


@pytest.mark.parametrize("code", ["AccessDenied", "AccessDeniedException", "AuthorizationError"])
def test_who_is_known_and_may_not_is_told_apart_from_who_is_not_known(code: str) -> None:
    """Only the first may have been prepared for by somebody who may; the line names the action, as AWS does."""
    assert type(said(code, DENIED)) is Forbidden
    assert str(said(code, DENIED)) == f"p_requests: {code}: {DENIED}"
    assert type(said("ExpiredToken")) is AccessDenied


@pytest.mark.parametrize("code", ["NotFound", "ResourceNotFoundException", "AWS.SimpleQueueService.NonExistentQueue"])
def test_what_is_not_there_is_named(code: str) -> None:
    """Queue, topic or table."""
    assert isinstance(said(code), NotFound)


@pytest.mark.parametrize("endpoint", ["foo", "localhost:4566", "http://", "http://["])
def test_an_endpoint_that_is_no_url_is_a_wrong_configuration(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Nobody was asked, so nobody is away; the line says where to look."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(ConfigError, match=r"AWS: sqs: Invalid .* \(check AWS_ENDPOINT_URL"):
        AWS(boto3.Session(region_name="eu-central-1")).client("sqs")


def test_a_region_that_cannot_be_is_a_wrong_configuration() -> None:
    """With a blank in it, say."""
    with pytest.raises(ConfigError, match="eu central"):
        AWS(boto3.Session(region_name="eu central")).client("sqs")


@pytest.mark.parametrize("endpoint", ["", "http://127.0.0.1:1"])
def test_an_empty_region_is_none(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Every command says so before it asks anybody, whether or not there is an endpoint that needs no region."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "")
    if endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(ConfigError, match=r"AWS: You must specify a region\. \(set AWS_DEFAULT_REGION, or region in"):
        AWS(boto3.Session()).client("sqs")


class _Page(BaseHTTPRequestHandler):
    """Answers everything with a page for people, as a proxy does that wants somebody to log in."""

    def do_POST(self) -> None:
        """Answer."""
        self.rfile.read(int(self.headers["Content-Length"]))
        page = b"<html><body><p>Log in<br></body></html>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def portal(monkeypatch: pytest.MonkeyPatch) -> Iterator[AWS]:
    """AWS, as it is seen through a proxy that lets nobody through."""
    with HTTPServer(("127.0.0.1", 0), _Page) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        yield AWS(boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-central-1"))
        server.shutdown()


def test_a_page_of_a_proxy_is_told_from_aws(portal: AWS) -> None:
    """Each service has a form of answers of its own, and such a page is none of them: nobody there, not a defect."""
    for ask in (
        lambda: SQSTransport(portal).open_replies("p_reply_alice"),
        lambda: DynamoDBRegistry(portal, "p_nodes").nodes(),
        lambda: Cloud(portal).account,
        lambda: Cloud(portal).table("p_nodes"),
    ):
        with pytest.raises(Unreachable, match="the response is not from AWS"):
            ask()
