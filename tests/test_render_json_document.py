"""The JSON document of a call, its schema, and the events of --jsonl."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from jsonschema import ValidationError
from support.json_documents import check_document
from support.rendering import FinishedCall, make_action, make_call, make_reply, varied_call

from collective import schemas
from collective.clients.render.formatting import write_json
from collective.clients.render.json_document import (
    document,
    end_event,
    reply_event,
    write_event,
)
from collective.clients.render.records import of_reply
from collective.clients.render.view import View

EXAMPLE: dict[str, Any] = {
    "schema": schemas.schema_id("results"),
    "request_id": "0123456789abcdef0123456789abcdef",
    "agent": "nrpe",
    "action": "runcommand",
    "collective": "production",
    "caller": "alice@example.com",
    "replies": [
        {
            "sender": "dev1.my.net",
            "statuscode": 1,
            "statusmsg": "CRITICAL",
            "reason": None,
            "data": {"exitcode": 2},
            "elapsed_ms": 41.2,
        }
    ],
    "outcomes": {"ok": 46, "failed": 1, "silent": 0, "skipped": 0, "unexpected": 0, "rejected": 0},
    "silent": [],
    "skipped": [],
    "unexpected": [],
    "rejected": [],
    "aggregates": [{"function": "summary", "output": "exitcode", "title": "Exit Code", "result": {"0": 46, "2": 1}}],
    "timing_ms": {"discovery": 31.0, "total": 766.1},
}


def _empty() -> FinishedCall:
    return make_call(make_action())


@pytest.mark.parametrize("call", [varied_call(), _empty()], ids=["varied", "empty"])
def test_written_document_fits_the_schema(call: FinishedCall) -> None:
    """A written document can be parsed again and is valid."""
    stream = io.StringIO()
    write_json(document(call), stream)
    assert stream.getvalue().isascii()
    written = json.loads(stream.getvalue())
    assert written == document(call)
    check_document(written)


def test_contract_example_fits_the_schema() -> None:
    """The example in the documentation is valid."""
    check_document(EXAMPLE)


@pytest.mark.parametrize(
    "change",
    [
        {"more": 1},
        {"agent": ""},
        {"request_id": "x"},
        {"request_ids": ["x"]},
        {"stopped": False},
        {"request_id": EXAMPLE["request_id"] + "\n"},
        {"replies": [{**EXAMPLE["replies"][0], "statuscode": 6}]},
        {"replies": [{**EXAMPLE["replies"][0], "more": 1}]},
        {"outcomes": {**EXAMPLE["outcomes"], "ok": -1}},
        {"outcomes": {"ok": 1}},
        {"silent": ["a", "a"]},
        {"aggregates": [{**EXAMPLE["aggregates"][0], "result": 1}]},
        {"aggregates": [{**EXAMPLE["aggregates"][0], "result": {"0": 0}}]},
        {"aggregates": [{**EXAMPLE["aggregates"][0], "function": "sum"}]},
        {"timing_ms": {"total": 1.0}},
    ],
)
def test_schema_is_strict(change: dict[str, Any]) -> None:
    """A document with additional, missing or invalid members is refused."""
    with pytest.raises(ValidationError):
        check_document({**EXAMPLE, **change})


def test_varied_document() -> None:
    """Every node is listed under its outcome, aggregates ignore unusable values, durations are milliseconds."""
    found = document(varied_call())
    assert found["outcomes"] == {
        "ok": 2,
        "failed": 2,
        "silent": 2,
        "skipped": 1,
        "unexpected": 1,
        "rejected": 2,
    }
    assert found["silent"] == ["web4", "web6"]
    assert found["skipped"] == ["web5"]
    assert found["unexpected"] == ["stray"]
    assert found["rejected"] == ["evil\x1b[31m name", "web6"]
    assert [aggregate["result"] for aggregate in found["aggregates"]] == [
        {"1.0": 1, "a": 1, "b": 1, "x\r\ny\ud800": 1},
        2.25,
        4.5,
    ]
    assert found["timing_ms"] == {"discovery": 2000.0, "total": 2100.0}


def test_order_of_replies() -> None:
    """Replies are in order of arrival, or with `by_identity` sorted by sender."""
    call = varied_call()
    assert [reply["sender"] for reply in document(call)["replies"]] == ["web2", "web1", "stray", "web3"]
    by_identity = document(call, View(sort=("sender",)))["replies"]
    assert [reply["sender"] for reply in by_identity] == ["stray", "web1", "web2", "web3"]


def test_secret_is_nowhere() -> None:
    """A writeOnly output is masked, and is not part of an aggregate."""
    text = json.dumps(document(varied_call()))
    assert "s3cret" not in text
    assert "********" in text


def test_events() -> None:
    """The event of a reply has the members of the reply in the document; the last event has all other members."""
    call = varied_call()
    whole = document(call)
    del whole["schema"]
    events = [reply_event(of_reply(reply, call.action)) for reply in call.outcomes.replies.values()]
    assert events == [{"event": "reply", **reply} for reply in whole.pop("replies")]
    assert end_event(call) == {"event": "end", **whole}
    stream = io.StringIO()
    for event in [*events, end_event(call)]:
        write_event(event, stream)
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [*events, end_event(call)]


def test_reply_in_document() -> None:
    """The reason and the data of a reply are unchanged."""
    reply = make_reply("n", {"a": [1, None]}, 5, reason="timeout", statusmsg="too slow")
    assert document(make_call(make_action(), [reply]))["replies"] == [
        {
            "sender": "n",
            "statuscode": 5,
            "statusmsg": "too slow",
            "reason": "timeout",
            "data": {"a": [1, None]},
            "elapsed_ms": 41.25,
        }
    ]


@pytest.mark.parametrize("levels", [50, 200, 950, 100_000])
def test_deep_reply_spoils_nothing(levels: int) -> None:
    """A reply that is nested too deeply is cut off, and the other replies are written."""
    deep: list[Any] = []
    for _ in range(levels):
        deep = [deep]
    replies = [make_reply("deep", {"a": deep}), make_reply("plain", {"a": 1})]
    stream = io.StringIO()
    write_json(document(make_call(make_action(), replies)), stream)
    found = json.loads(stream.getvalue())["replies"]
    assert ("(nested too deeply)" in json.dumps(found[0])) is (levels > 100)
    assert found[1]["data"] == {"a": 1}
