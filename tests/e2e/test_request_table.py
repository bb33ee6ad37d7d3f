"""Requests that wait for approvals, in a real table of DynamoDB."""

from __future__ import annotations

import time
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest
from support.request_store_contract import CHECKS, MakeStore, plan

from collective.aws.session import AWS
from collective.errors import Unreachable, UsageError
from collective.fleet import request_table
from collective.fleet.approvals import EXPIRES
from collective.fleet.request_store import KEPT
from collective.fleet.request_table import RequestTable
from collective.registry.run_table import RunTable

Make = Callable[[], RequestTable]


@pytest.fixture
def make(moto_server: str) -> Make:
    """Return the requests in an empty table, for callers that share nothing else."""
    session, name = boto3.Session("test", "test", region_name="eu-central-1"), f"t{uuid.uuid4().hex[:8]}_runs"
    RunTable(AWS(session, endpoint=moto_server), name).create()
    return lambda: RequestTable(AWS(session, endpoint=moto_server), name)


@pytest.mark.parametrize("contract", CHECKS, ids=lambda one: one.__name__)
def test_contract(contract: Callable[[MakeStore, Path], None], make: Make, tmp_path: Path) -> None:
    """A table does what every store of requests does."""
    contract(make, tmp_path)


def test_old_requests_are_not_listed(make: Make, tmp_path: Path) -> None:
    """DynamoDB deletes items late; a request is gone some days after its approvals have expired."""
    old, kept = (plan(tmp_path, time.time() - EXPIRES - KEPT + left) for left in (-60, 60))
    for one in (old, kept):
        make().add(one)
    assert list(make().all()) == [kept["run"]]
    with pytest.raises(UsageError, match="neither a file nor a request"):
        make().find(old["run"])


def test_the_number_of_requests_that_are_listed_is_limited(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest ones are listed, the oldest of them first."""
    monkeypatch.setattr(request_table, "MOST_LISTED", 2)
    made = [plan(tmp_path, time.time() - age) for age in (30, 20, 10)]
    for one in made:
        make().add(one)
    assert list(make().all()) == [made[1]["run"], made[2]["run"]]


def test_the_size_of_what_is_listed_is_limited(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small items that become large, valid or not, cannot exhaust a caller who lists requests."""
    monkeypatch.setattr(request_table, "MOST_BYTES", 200_000)
    made = [plan(tmp_path, time.time() - age) for age in (30, 20, 10)]
    for one in made:
        make().add(one)
    store = make()
    client, table = store._client, store._table  # noqa: SLF001
    later, content = time.time() + 60, zlib.compress(b"x" * 150_000)
    for number in range(2):
        item = {"part": {"S": "requests"}, "entry": {"S": f"{later * 1000:013.0f}-{str(number) * 32}"}}
        client.put_item(TableName=table, Item={**item, "expires": {"N": str(later)}, "plan": {"B": content}})
    assert list(make().all()) == []
    monkeypatch.setattr(request_table, "MOST_BYTES", 400_000)
    assert list(make().all()) == [one["run"] for one in made]


def test_a_request_that_is_too_large_is_refused(make: Make, tmp_path: Path) -> None:
    """The error has both sizes, and says where it can be saved."""
    with pytest.raises(UsageError, match=r"the request has \d+ bytes, more than the limit of 307200 bytes \(save it"):
        make().add({**plan(tmp_path), "padding": [uuid.uuid4().hex for _ in range(30_000)]})


def test_what_is_not_a_plan_is_not_listed(make: Make, tmp_path: Path) -> None:
    """Others can write to the table: items that cannot be read are omitted, and are an error when they are named."""
    made = plan(tmp_path)
    store = make()
    store.add(made)
    client, table = store._client, store._table  # noqa: SLF001
    large = zlib.compress(b"x" * (request_table._MOST + 1))  # noqa: SLF001
    for number, content in enumerate((b"", b"no", large, zlib.compress(b"[]"))):
        entry, expires = f"{number:013d}-{str(number) * 32}", str(time.time() + 60)
        plain = {"part": {"S": "requests"}, "entry": {"S": entry}, "expires": {"N": expires}}
        client.put_item(TableName=table, Item={**plain, "plan": {"B": content}})
    client.put_item(TableName=table, Item={"part": {"S": "requests"}, "entry": {"S": "x"}})
    assert list(make().all()) == [made["run"]]
    for number, message in enumerate(("not JSON", "cannot be read", "not JSON", "not a plan")):
        with pytest.raises(UsageError, match=f"request {str(number) * 8}: {message}"):
            make().find(str(number) * 32).read()


def test_a_table_that_does_not_exist_is_an_error(moto_server: str, tmp_path: Path) -> None:
    """The message says what creates it."""
    session = boto3.Session("test", "test", region_name="eu-central-1")
    store = RequestTable(AWS(session, endpoint=moto_server), "absent_runs")
    for use in (store.all, lambda: store.find("abcd"), lambda: store.add(plan(tmp_path))):
        with pytest.raises(
            Unreachable, match=r"table 'absent_runs' does not exist \(crpc setup creates it, or set 'requests'"
        ):
            use()
