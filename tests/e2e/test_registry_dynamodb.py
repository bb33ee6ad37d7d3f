"""The DynamoDB registry meets the registry contract, against real servers over HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import boto3
import pytest
from support.registry_contract import *  # noqa: F403 - the contract's tests
from support.registry_contract import record
from support.servers import SERVERS, WITH_DYNAMODB

from collective.aws.session import AWS
from collective.errors import NotFound
from collective.registry import Revocation
from collective.registry.dynamodb import DynamoDBRegistry


@pytest.fixture(scope="module", params=WITH_DYNAMODB)
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return each selected server with DynamoDB."""
    with SERVERS[request.param]() as endpoints:
        yield endpoints["AWS_ENDPOINT_URL"]


@pytest.fixture
def session(url: str, monkeypatch: pytest.MonkeyPatch) -> boto3.Session:
    """Return a session for the server."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    return boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-central-1")


@pytest.fixture
def registry(session: boto3.Session) -> DynamoDBRegistry:
    """Return a registry with a shared table."""
    registry = DynamoDBRegistry(AWS(session), "test_nodes")
    registry.create()
    return registry


@pytest.fixture
def identity() -> str:
    """Return a unique identity."""
    return f"{uuid.uuid4().hex}.my.net"


def test_a_missing_table_is_not_found(session: boto3.Session) -> None:
    """A missing table is another error than an unreachable service."""
    with pytest.raises(NotFound, match="table 'absent_nodes' does not exist"):
        DynamoDBRegistry(AWS(session), "absent_nodes").nodes()


def test_a_table_of_several_pages_is_read_completely(session: boto3.Session) -> None:
    """A table of more than 1 MB has each node once."""
    registry = DynamoDBRegistry(AWS(session), f"large{uuid.uuid4().hex[:8]}_nodes")
    registry.create()
    noise = {str(number): uuid.uuid4().hex for number in range(5000)}
    for number in range(12):
        registry.put(record(f"node{number}", facts=noise))
    assert sorted(one.identity for one in registry.nodes()) == sorted(f"node{number}" for number in range(12))


def test_a_snapshot_is_completed_from_the_table(session: boto3.Session) -> None:
    """Heads have what heartbeats change; only changed records are read again. Revoked keys are in both."""
    registry = DynamoDBRegistry(AWS(session), f"heads{uuid.uuid4().hex[:8]}_nodes")
    registry.create()
    for name in ("one", "two"):
        registry.put(record(name))
    registry.record_revocation(Revocation("two", "SHA256:x"))
    contents, changes = registry.read_with_changes()
    heads, rest = registry.read_heads()
    assert {(head.identity, head.instance, head.changed) for head in heads} == {
        (one.identity, "one", changes[one.identity]) for one in contents.records
    }
    assert (list(rest.revocations), rest.records) == ([Revocation("two", "SHA256:x")], [])
    assert registry.heartbeat("one", "one") == "one"
    assert {head.identity: head.changed for head in registry.read_heads()[0]} == changes
    registry.put(record("two", version="2.0"))
    [changed] = [head for head in registry.read_heads()[0] if head.changed != changes[head.identity]]
    found, new = registry.read_changed(changed.changed)
    assert [(one.identity, one.version) for one in found.records] == [("two", "2.0")]
    assert new == {"two": changed.changed}
