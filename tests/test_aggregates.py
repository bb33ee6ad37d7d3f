"""The aggregates of a DDL over many replies."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.rendering import load, make_action, make_reply

from collective.fleet.aggregates import compute


@pytest.mark.parametrize("case", load("aggregates"), ids=lambda case: case["id"])
def test_case(case: dict[str, Any]) -> None:
    """Each function returns the result of the case, in the same order."""
    given = case["input"]
    entry = {"function": given["function"], "output": "test", "labels": given.get("labels", {})}
    replies = [make_reply(f"n{number}", {"test": value}) for number, value in enumerate(given["values"])]
    (found,) = compute(make_action({"test": {}}, [entry]), replies)
    # Compared as JSON, because the order of counts and the type of a number (3 or 3.0) matter.
    assert json.dumps(found.to_data()["result"]) == json.dumps(case["expected"]["value"])


def test_failed_replies_count() -> None:
    """Outputs of failed replies are aggregated too, for example the exit codes of failed checks."""
    action = make_action({"exitcode": {}}, [{"function": "summary", "output": "exitcode"}])
    replies = [make_reply("a", {"exitcode": 0}), make_reply("b", {"exitcode": 2}, 1), make_reply("c", {}, 5)]
    assert compute(action, replies)[0].result == {"0": 1, "2": 1}


def test_order_and_titles() -> None:
    """Results are in the order of the DDL, with the titles of the outputs."""
    action = make_action(
        {"b": {"title": "Bee"}, "a": {}},
        [
            {"function": "max", "output": "b"},
            {"function": "summary", "output": "a", "labels": {"1": "one"}},
        ],
    )
    found = compute(action, [make_reply("n", {"a": 1, "b": 2})])
    assert [result.to_data() for result in found] == [
        {"function": "max", "output": "b", "title": "Bee", "result": 2, "omitted": 0},
        {"function": "summary", "output": "a", "title": "a", "result": {"1": 1}, "omitted": 0},
    ]
    assert found[1].labels == {"1": "one"}


def test_secret_is_not_summarised() -> None:
    """An output marked writeOnly is not aggregated, because the counts would show its values."""
    action = make_action({"token": {"writeOnly": True}}, [{"function": "summary", "output": "token"}])
    assert compute(action, [make_reply("n", {"token": "s3cret"})]) == []


@pytest.mark.parametrize(
    ("function", "values", "omitted", "note"),
    [
        ("summary", ["a", None, ["b", None, None]], 3, "3 of 5 values omitted: null"),
        ("average", [1, "2", None, True, float("nan")], 4, "4 of 5 values omitted: not a number"),
        ("min", [[1]], 1, "1 of 1 value omitted: not a number"),
        ("sum", [1, 2.5], 0, ""),
        ("max", [], 0, ""),
    ],
)
def test_what_is_omitted_is_counted(function: str, values: list[Any], omitted: int, note: str) -> None:
    """A value that a function cannot use is never dropped silently: the document has the number, the console a line."""
    replies = [make_reply(f"n{number}", {"test": value}) for number, value in enumerate(values)]
    (found,) = compute(make_action({"test": {}}, [{"function": function, "output": "test"}]), replies)
    assert (found.to_data()["omitted"], found.note) == (omitted, note)
