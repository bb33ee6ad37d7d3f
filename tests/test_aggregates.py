"""What the `aggregate` lines of a DDL make of many replies."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.rendering import load, make_action, make_reply

from collective.fleet.aggregates import compute


@pytest.mark.parametrize("case", load("aggregates"), ids=lambda case: case["id"])
def test_case(case: dict[str, Any]) -> None:
    """Each function gives the value that the case says, in that order."""
    given = case["input"]
    entry = {"function": given["function"], "output": "test", "labels": given.get("labels", {})}
    replies = [make_reply(f"n{number}", {"test": value}) for number, value in enumerate(given["values"])]
    (found,) = compute(make_action({"test": {}}, [entry]), replies)
    # As JSON, because the order of counts, and 3 or 3.0, are part of the answer.
    assert json.dumps(found.to_data()["result"]) == json.dumps(case["expected"]["value"])


def test_failed_replies_count() -> None:
    """The data of failed replies is summarised like the rest: exit codes of failed checks are the point."""
    action = make_action({"exitcode": {}}, [{"function": "summary", "output": "exitcode"}])
    replies = [make_reply("a", {"exitcode": 0}), make_reply("b", {"exitcode": 2}, 1), make_reply("c", {}, 5)]
    assert compute(action, replies)[0].result == {"0": 1, "2": 1}


def test_order_and_titles() -> None:
    """Results come in the DDL's order, under the outputs' titles, and say the same as data."""
    action = make_action(
        {"b": {"title": "Bee"}, "a": {}},
        [
            {"function": "max", "output": "b"},
            {"function": "summary", "output": "a", "labels": {"1": "one"}},
        ],
    )
    found = compute(action, [make_reply("n", {"a": 1, "b": 2})])
    assert [result.to_data() for result in found] == [
        {"function": "max", "output": "b", "title": "Bee", "result": 2},
        {"function": "summary", "output": "a", "title": "a", "result": {"1": 1}},
    ]
    assert found[1].labels == {"1": "one"}


def test_secret_is_not_summarised() -> None:
    """An output marked writeOnly has no aggregate: its counts would show the values."""
    action = make_action({"token": {"writeOnly": True}}, [{"function": "summary", "output": "token"}])
    assert compute(action, [make_reply("n", {"token": "s3cret"})]) == []
