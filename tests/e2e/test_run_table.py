"""The record of runs in a real table of DynamoDB."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from support.run_store_contract import CHECKS, MakeStore, begin_event, holder, names, order, request_event

from collective.aws.session import AWS
from collective.fleet.steering.table_store import TableRunStore
from collective.messages import new_id
from collective.registry.run_table import EXPIRES, RunTable


@pytest.fixture
def store(moto_server: str) -> TableRunStore:
    """An empty table."""
    session = boto3.Session("test", "test", region_name="eu-central-1")
    aws, name = AWS(session, endpoint=moto_server), f"t{uuid.uuid4().hex[:8]}_runs"
    table = RunTable(aws, name)
    table.create()
    assert not table.expires()
    table.expire_items()
    assert table.expires()
    return TableRunStore(aws, name)


@pytest.mark.parametrize("contract", CHECKS, ids=lambda one: one.__name__)
def test_contract(contract: Callable[[MakeStore], None], store: TableRunStore, moto_server: str) -> None:
    """A table does what every record does, for callers that share nothing else."""
    session = boto3.Session("test", "test", region_name="eu-central-1")
    table = store._table  # noqa: SLF001
    contract(lambda: TableRunStore(AWS(session, endpoint=moto_server), table))


def test_a_batch_that_is_not_complete_is_ignored(store: TableRunStore) -> None:
    """A caller that dies between two items of a batch leaves nothing that counts; the next caller appends after it."""
    run = new_id()
    store.create([begin_event(run), request_event()], holder())
    log = store.log(store.runs()[0])
    log.news()
    large = {"event": "silent", "nodes": [os.urandom(300).hex() for _ in range(2000)]}
    writer = store.log(store.runs()[0])
    writer.news()
    puts = iter([True, False])
    put: Any = writer._put  # type: ignore[attr-defined]  # noqa: SLF001

    def dying(part: bytes, batch: str, count: int) -> bool:
        assert count > 1
        if next(puts):
            return bool(put(part, batch, count))
        raise KeyboardInterrupt

    writer._put = dying  # type: ignore[attr-defined]  # noqa: SLF001
    with pytest.raises(KeyboardInterrupt):
        writer.append([large])
    assert log.append([order("after")]) == []
    assert names(store.log(store.runs()[0]).news()) == ["begin", "request", "after"]


@pytest.mark.parametrize("entry", ["zzz", "9999999999", "00000000002", "²²²²²²²²²²"])
def test_an_item_of_a_hostile_writer_hides_no_order(store: TableRunStore, moto_server: str, entry: str) -> None:
    """Who can write to the table can add items with any keys: those that no caller writes are ignored."""
    run = new_id()
    store.create([begin_event(run), request_event()], holder())
    session = boto3.Session("test", "test", region_name="eu-central-1")
    client = session.client("dynamodb", endpoint_url=moto_server)
    table = store._table  # noqa: SLF001
    client.put_item(TableName=table, Item={"part": {"S": run}, "entry": {"S": entry}})
    reader, writer = (store.log(store.runs()[0]) for _ in range(2))
    assert names(reader.news()) == ["begin", "request"]
    writer.news()
    assert writer.append([order("stop")]) == []
    assert names(reader.news()) == ["stop"]


def test_every_item_expires(store: TableRunStore, moto_server: str) -> None:
    """DynamoDB deletes items by the attribute `expires`, 30 days after the last change."""
    run = new_id()
    log = store.create([begin_event(run), request_event()], holder())
    log.append([order("a")])
    session = boto3.Session("test", "test", region_name="eu-central-1")
    client = session.client("dynamodb", endpoint_url=moto_server)
    table = store._table  # noqa: SLF001
    expiry = client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    assert (expiry["TimeToLiveStatus"], expiry["AttributeName"]) == ("ENABLED", EXPIRES)
    items = client.scan(TableName=table)["Items"]
    assert len(items) == 3
    assert all(abs(float(item[EXPIRES]["N"]) - store.now() - 30 * 86400) < 60 for item in items)
