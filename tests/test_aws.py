"""The translation of errors of AWS, and invalid settings that are found before a request is sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import boto3
import pytest
from botocore.exceptions import ClientError

from collective.aws.errors import translated
from collective.aws.session import AWS
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


def translation(code: str, message: str = "…") -> CollectiveError:
    """Return the translation of an error response."""
    with pytest.raises(TransportError) as caught, translated("p_requests"):
        raise ClientError({"Error": {"Code": code, "Message": message}}, "CreateQueue")
    return caught.value


@pytest.mark.parametrize(
    "code",
    ["Throttling", "ThrottlingException", "Throttled", "RequestThrottled", "ProvisionedThroughputExceededException"],
)
def test_throttling_is_reported(code: str) -> None:
    """Each service has its own code for throttling, and all of them are Unreachable, which is retried."""
    error = translation(code, "Rate exceeded")
    assert type(error) is Unreachable
    assert str(error) == f"p_requests: throttled by AWS: {code}: Rate exceeded"


@pytest.mark.parametrize("code", ["AWS.SimpleQueueService.QueueDeletedRecently", "QueueDeletedRecently"])
def test_a_recently_deleted_queue_is_unreachable(code: str) -> None:
    """A queue deleted less than a minute ago is Unreachable, so that a pruned node that starts again retries."""
    error = translation(code)
    assert type(error) is Unreachable
    assert "deleted less than 60 s ago" in str(error)


@pytest.mark.parametrize("code", ["AccessDenied", "AccessDeniedException", "AuthorizationError"])
def test_missing_permissions_differ_from_invalid_credentials(code: str) -> None:
    """Without permission, a queue may have been prepared; the error has the action, as AWS reports it."""
    assert type(translation(code, DENIED)) is Forbidden
    assert str(translation(code, DENIED)) == f"p_requests: {code}: {DENIED}"
    assert type(translation("ExpiredToken")) is AccessDenied


@pytest.mark.parametrize("code", ["NotFound", "ResourceNotFoundException", "AWS.SimpleQueueService.NonExistentQueue"])
def test_a_missing_resource_is_not_found(code: str) -> None:
    """The error codes of SQS, SNS and DynamoDB are translated to NotFound, with kind and name."""
    assert isinstance(translation(code), NotFound)


@pytest.mark.parametrize("endpoint", ["foo", "localhost:4566", "http://", "http://[", "http://127.0.0.1:port"])
def test_an_endpoint_that_is_not_a_url_is_a_config_error(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """The error for an endpoint that is not a URL names the settings to check, and is not Unreachable."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(ConfigError, match=r"AWS: sqs: (Invalid|Port) .* \(check AWS_ENDPOINT_URL"):
        AWS(boto3.Session(region_name="eu-central-1")).client("sqs")


def test_credentials_behind_a_proxy_that_is_down_are_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a ConfigError, after which systemd does not start the daemon again."""
    for name in ("NO_PROXY", "no_proxy", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with pytest.raises(Unreachable, match="AWS credentials: Failed to connect to proxy URL"):
        AWS(boto3.Session(region_name="eu-central-1")).client("sqs")


def test_an_invalid_region_is_a_config_error() -> None:
    """A region with a space is refused."""
    with pytest.raises(ConfigError, match="eu central"):
        AWS(boto3.Session(region_name="eu central")).client("sqs")


@pytest.mark.parametrize("endpoint", ["", "http://127.0.0.1:1"])
def test_an_empty_region_is_a_config_error(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """An empty region is refused before a request is sent, with and without an endpoint."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "")
    if endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(ConfigError, match=r"AWS: You must specify a region\. \(set AWS_DEFAULT_REGION, or region in"):
        AWS(boto3.Session()).client("sqs")


class _Page(BaseHTTPRequestHandler):
    """Responds to every request with an HTML page, as a proxy that requires a login does."""

    def do_POST(self) -> None:
        """Send the page."""
        self.rfile.read(int(self.headers["Content-Length"]))
        page = b"<html><body><p>Log in<br></body></html>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def portal(monkeypatch: pytest.MonkeyPatch) -> Iterator[AWS]:
    """Return AWS as seen through such a proxy."""
    with HTTPServer(("127.0.0.1", 0), _Page) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        yield AWS(boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-central-1"))
        server.shutdown()


def test_the_page_of_a_proxy_is_not_a_response_of_aws(portal: AWS) -> None:
    """A response that is not from AWS is Unreachable with each service, not an internal error."""
    for request in (
        lambda: SQSTransport(portal).open_replies("p_reply_alice"),
        lambda: DynamoDBRegistry(portal, "p_nodes").nodes(),
        lambda: Cloud(portal).account,
        lambda: Cloud(portal).table("p_nodes"),
    ):
        with pytest.raises(Unreachable, match="the response is not from AWS"):
            request()
