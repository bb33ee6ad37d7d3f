"""The SQS transport meets the transport contract, against real servers over HTTP."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable

import boto3
import pytest
from support.servers import Endpoints
from support.servers import endpoints as endpoints
from support.transport_contract import *  # noqa: F403 - the contract's tests
from support.transport_contract import queue, topic  # noqa: F401 - its fixtures

from collective.aws.session import AWS
from collective.errors import AccessDenied, ConfigError, Unreachable
from collective.transport.sqs import SQSTransport


@pytest.fixture
def session(endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch) -> boto3.Session:
    """Return a session for the server."""
    for name, url in endpoints.items():
        monkeypatch.setenv(name, url)
    return boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-central-1")


@pytest.fixture
def transport(session: boto3.Session) -> SQSTransport:
    """Return a new transport, on a shared server."""
    return SQSTransport(AWS(session))


@pytest.fixture
def names() -> Callable[[str], str]:
    """Return a function that makes unique names."""
    counter, mine = itertools.count(), uuid.uuid4().hex[:8]
    return lambda stem: f"test{mine}_{stem}-{next(counter)}"


def test_a_refused_connection_is_unreachable(monkeypatch: pytest.MonkeyPatch, session: boto3.Session) -> None:
    """A refused connection raises Unreachable after botocore's retries."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:9")
    with pytest.raises(Unreachable, match=r"test_reply_x: .*127\.0\.0\.1:9"):
        SQSTransport(AWS(session)).open_replies("test_reply_x")


def test_a_missing_region_is_a_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error for a missing region names the setting."""
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    with pytest.raises(ConfigError, match="AWS_DEFAULT_REGION"):
        SQSTransport(AWS(boto3.Session()))


def test_missing_credentials_are_access_denied(monkeypatch: pytest.MonkeyPatch, moto_server: str) -> None:
    """Without credentials nothing is sent."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_server)
    with pytest.raises(AccessDenied, match="credentials"):
        SQSTransport(AWS(boto3.Session(region_name="eu-central-1"))).open_replies("test_reply_y")
