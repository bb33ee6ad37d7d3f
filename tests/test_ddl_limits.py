"""No schema and no value can stop a check."""

from __future__ import annotations

import copy
import json
import time
from typing import Any

import pytest
from support.hammer import TEXT, document, with_input

from collective import ddl, ddl_document, json_schema
from collective.errors import DDLError, InvalidInput, UncheckedInput
from collective.time_limit import CHECK_SECONDS

SLOW = {
    "repeated words": r"^(\w+\s?)*$",
    "alternatives": "^(a|aa)+$",
    "nested repetitions": "^((a+)+)+$",
    "optional letters": "^(a?){60}a{60}$",
    "many repetitions": "^" + "a*" * 12 + "$",
    "back references": r"^(a+)+\1$",
    "look-ahead": "^(?=(a+)+$)a",
}


@pytest.mark.parametrize("name", SLOW)
@pytest.mark.parametrize("length", [45, 64, 100_000])
def test_a_slow_pattern_cannot_stop_the_check(name: str, length: int) -> None:
    """A check ends within its limit, whatever the value; a value that could not be checked is refused."""
    action = with_input({"text": {**TEXT, "pattern": SLOW[name]}})
    started = time.thread_time()
    with pytest.raises(InvalidInput):
        action.check_input({"text": "a" * length + "!"})
    assert time.thread_time() - started < CHECK_SECONDS * 3


def test_a_check_that_took_too_long_has_a_reason_of_its_own() -> None:
    """The caller learns that the DDL is too slow, not that the input is wrong."""
    action = with_input({"text": {**TEXT, "pattern": "^(a|aa)+$"}})
    with pytest.raises(UncheckedInput, match="could not be checked within 1 s") as refused:
        action.check_input({"text": "a" * 45 + "!"})
    assert (refused.value.statuscode, refused.value.reason) == (4, "unchecked")


@pytest.mark.parametrize("name", SLOW)
def test_a_slow_default_cannot_stop_the_reader_of_a_ddl(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """DDLs come from nodes, and from callers that push plug-ins: their defaults are checked by their own patterns."""
    monkeypatch.setattr(ddl_document, "SCHEMA_SECONDS", 0.5)
    started = time.thread_time()
    keywords: list[dict[str, Any]] = [{}, {"dependentRequired": {}}]  # also where jsonschema judges
    for more in keywords:
        with pytest.raises(DDLError):
            with_input({"text": {**TEXT, "pattern": SLOW[name], "default": "a" * 100 + "!"}}, **more)
    assert time.thread_time() - started < 3


@pytest.mark.parametrize("pattern", ["(?:a{1000}){1000}", "a{1000000000}", "((" * 30 + "a" + "))" * 30, "(?x)a{1 000}"])
def test_a_pattern_cannot_take_all_memory(pattern: str) -> None:
    """The package `regex` stores repetitions expanded: 30 characters could use all memory of caller or node."""
    for keyword in ({"pattern": pattern}, {"type": ["object", "string"], "patternProperties": {pattern: {}}}):
        with pytest.raises(DDLError):
            with_input({"text": {**TEXT, **keyword}})
    with_input({"text": {**TEXT, "pattern": r"^[a-z]{1,1000}(\.[a-z]{2,20}){0,1000}$"}})


TREE = {"anyOf": [{"items": {"$ref": "#/$defs/tree"}, "type": "array"}] * 4}
NAMES = {"type": "object", "patternProperties": {"^(a|aa)+$": {}}, "additionalProperties": False}
SLOW_VALUES: dict[str, tuple[dict[str, Any], Any]] = {
    "names": (NAMES, {"a" * 60 + "!": 1}),
    "items": ({"type": "array", "uniqueItems": True}, [{"number": number % 99_999} for number in range(100_000)]),
    "references": ({"$ref": "#/$defs/tree"}, json.loads("[" * 20 + "1" + "]" * 20)),
    "many errors": ({"type": "array", "items": {"type": "string", "minLength": 5}}, ["x"] * 300_000),
}


@pytest.mark.parametrize("name", SLOW_VALUES)
def test_a_large_value_cannot_stop_the_check(name: str) -> None:
    """Names, unique items, references and errors that multiply end within the limit too."""
    schema, value = SLOW_VALUES[name]
    more = {"$defs": {"tree": TREE}}
    action = with_input({"value": schema}, **more)
    started = time.thread_time()
    with pytest.raises(InvalidInput):
        action.check_input({"value": value})
    assert time.thread_time() - started < CHECK_SECONDS * 3


def test_unique_items_are_compared_as_json_values() -> None:
    """1 and 1.0 are equal, 1 and true are not; the order of keys does not matter."""
    unique = json_schema.validator({"uniqueItems": True})
    assert unique.is_valid([1, True, "1", [1], [True], {"a": 1}, {"a": True}, None, 0, False])
    pairs: list[list[Any]] = [[1, 1.0], [{"a": 1, "b": 2}, {"b": 2, "a": 1}], [[[]], [[]]]]
    for pair in pairs:
        assert not unique.is_valid(pair)


def test_unevaluated_properties_with_patterns_are_refused() -> None:
    """The check of `unevaluatedProperties` has no time limit, so the keyword is not supported."""
    with pytest.raises(DDLError, match="'unevaluatedProperties' is not supported"):
        with_input({"a": {"allOf": [{"patternProperties": {"^x": {}}}], "unevaluatedProperties": False}})


def test_parsing_does_not_change_the_document() -> None:
    """A DDL that is parsed twice gives the same result."""
    given = document({"a": {**TEXT, "default": "x"}})
    before = copy.deepcopy(given)
    ddl.parse(given)
    assert given == before
