"""Data is checked against a DDL: inputs, outputs and patterns."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hammer import TEXT, swing, with_input

from collective import ddl, json_schema, quick_check
from collective.errors import DDLError, Failed, InvalidInput, MissingInput


def test_defaults_are_filled_in() -> None:
    """Missing inputs and outputs get the defaults of the DDL; given values are kept."""
    action = swing({"force": {"type": "integer", "default": 3}, "at": TEXT}, {"hits": {"default": 0}})
    assert action.check_input({}) == {"force": 3}
    assert action.check_input({"force": 5}) == {"force": 5}
    assert action.check_output({}) == {"hits": 0}


def test_data_is_not_changed_in_place() -> None:
    """Checking returns new data."""
    action = swing({"force": {"type": "integer", "default": 3}})
    given: dict[str, Any] = {}
    action.check_input(given)
    assert given == {}


def test_a_missing_input_is_named_with_all_inputs() -> None:
    """The error for a missing input lists the inputs of the action."""
    action = with_input({"at": TEXT, "force": {}}, required=["at"])
    with pytest.raises(MissingInput, match=r"^hammer swing: required input 'at' is missing \(inputs: at, \[force\]\)$"):
        action.check_input({"force": 1})


def test_an_input_required_by_another_is_named() -> None:
    """JSON Schema can require an input only together with another."""
    action = with_input({"at": TEXT, "on": TEXT}, **{"if": {"required": ["on"]}, "then": {"required": ["at"]}})
    assert action.check_input({}) == {}
    with pytest.raises(MissingInput, match="input 'at' is missing"):
        action.check_input({"on": "x"})


def test_an_unknown_input_is_refused() -> None:
    """No input that is not in the DDL reaches an action."""
    with pytest.raises(InvalidInput, match=r"hammer swing: unknown input 'color' \(it takes no inputs\)"):
        swing().check_input({"color": "red"})


def test_an_invalid_input_is_named() -> None:
    """The error has the path of the invalid value and the reason."""
    action = with_input({"at": {"type": "array", "items": TEXT}})
    with pytest.raises(InvalidInput, match=r"^hammer swing: input 'at\.1': 5 is not of type 'string'$"):
        action.check_input({"at": ["a", 5]})


def test_a_long_value_is_not_repeated_in_full() -> None:
    """An error message is shortened if it quotes a long value."""
    with pytest.raises(InvalidInput) as caught:
        with_input({"at": {**TEXT, "maxLength": 5}}).check_input({"at": "x" * 100_000})
    assert len(str(caught.value)) < 400


SECRET = {"writeOnly": True, "anyOf": [{"type": "integer"}, {**TEXT, "maxLength": 3}]}


@pytest.mark.parametrize(
    "action",
    [
        with_input({"key": {**TEXT, "writeOnly": True, "maxLength": 3}, "other": {}}),
        with_input({"key": SECRET, "other": {}}),
        with_input({"key": {"writeOnly": True}, "other": {}}, maxProperties=1),
        with_input({"key": {"type": "object", "writeOnly": True, "additionalProperties": False}, "other": {}}),
    ],
    ids=["plain", "a branch", "the whole", "inside"],
)
def test_a_secret_is_never_quoted(action: ddl.Action) -> None:
    """The error for an invalid secret does not contain its value."""
    for value in ("hunter2", {"hunter2": 1}):
        with pytest.raises(InvalidInput) as caught:
            action.check_input({"key": value, "other": 1})
        assert "hunter2" not in str(caught.value)


def test_secrets_are_masked() -> None:
    """Inputs and outputs marked writeOnly are replaced by asterisks, others are kept."""
    action = swing({"key": {"writeOnly": True}, "at": {}}, {"token": {"writeOnly": True}})
    assert action.secrets == {"key", "token"}
    assert action.masked({"key": "k", "token": 5, "at": 1}) == {"key": "********", "token": "********", "at": 1}


def test_an_invalid_output_is_a_failure() -> None:
    """The reply for an invalid output has status code 5 and reason `invalid_output`, and names the output."""
    with pytest.raises(Failed, match="hammer swing: does not match its DDL: output 'hits': 'two' is not") as caught:
        swing(outputs={"hits": {"type": "integer"}}).check_output({"hits": "two"})
    assert caught.value.reason == "invalid_output"


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        ({}, "return it, or give the output a 'default', or list only the others in 'required'"),
        ({"day_left": 5}, "the action returned 'day_left', which the DDL does not have"),
    ],
)
def test_a_missing_output_is_a_failure(data: dict[str, Any], hint: str) -> None:
    """An output that an action forgets or misspells is named; the reply is never OK without it."""
    action = swing(outputs={"days_left": {"type": "integer"}, "note": {"default": ""}})
    assert action.check_output({"days_left": 5}) == {"days_left": 5, "note": ""}
    with pytest.raises(Failed) as caught:
        action.check_output(data)
    assert str(caught.value) == f"hammer swing: output 'days_left' is missing ({hint})"
    assert caught.value.reason == "invalid_output"


def test_outputs_outside_required_are_optional() -> None:
    """With `required` in `output`, the other outputs may be missing, and an empty list makes all of them optional."""
    outputs = {"type": "object", "properties": {"a": {}, "b": {}}}
    action = swing(output={**outputs, "required": ["a"]})
    assert action.check_output({"a": 1}) == {"a": 1}
    with pytest.raises(Failed, match="output 'a' is missing"):
        action.check_output({"b": 1})
    assert swing(output={**outputs, "required": []}).check_output({}) == {}


def test_a_failed_action_may_return_a_part_of_its_outputs() -> None:
    """The values of an incomplete result are checked all the same."""
    action = swing(
        outputs={"a": {"type": "integer"}, "b": {}},
        output={"type": "object", "required": ["b"], "properties": {"a": {"type": "integer"}, "b": {}}},
    )
    assert action.check_output({}, complete=False) == {}
    with pytest.raises(Failed, match="output 'a': 'x' is not of type"):
        action.check_output({"a": "x"}, complete=False)


def test_our_own_words_of_the_ddl_are_accepted() -> None:
    """An output may be `volatile`, and an action may support `dry_run`; elsewhere `volatile` is an unknown keyword."""
    action = swing(outputs={"time": {"type": "number", "volatile": True}, "a": {}}, dry_run=True)
    assert (action.volatile, action.dry_run, swing().dry_run) == (frozenset({"time"}), True, False)
    with pytest.raises(DDLError, match="unknown JSON Schema keyword 'volatile'"):
        swing({"time": {"volatile": True}})
    with pytest.raises(DDLError, match="unknown JSON Schema keyword 'volatile'"):
        swing(outputs={"a": {"items": {"volatile": True}}})
    with pytest.raises(DDLError, match="'yes' is not of type 'boolean'"):
        swing(outputs={"a": {"volatile": "yes"}})


@pytest.mark.parametrize("data", [None, [], "text", 5])
def test_an_action_must_return_a_mapping(data: Any) -> None:
    """Any other result is a failure of the agent."""
    with pytest.raises(Failed, match="must return a dict"):
        swing().check_output(data)


def test_data_nested_too_deeply_is_refused() -> None:
    """A recursive schema is safe with data of any depth."""
    tree = {"type": "array", "items": {"$ref": "#/properties/at"}}
    deep = json.loads("[" * 400 + "]" * 400)
    with pytest.raises(InvalidInput, match="nested too deeply"):
        with_input({"at": tree}).check_input({"at": deep})


@given(value=st.text(), ending=st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_a_trailing_newline_does_not_match(value: str, ending: str) -> None:
    """`^…$` matches the whole value only."""
    pattern = quick_check.whole_value_pattern(f"^{re.escape(value)}$")
    assert re.search(pattern, value)
    assert not re.search(pattern, value + ending)


def test_a_trailing_newline_in_a_name_does_not_match() -> None:
    """The patterns in `patternProperties` match whole names only."""
    strict = json_schema.validator(
        {"patternProperties": {"^[A-Z]+$": {"type": "string"}}, "additionalProperties": False}
    )
    assert strict.is_valid({"PATH": "/bin"})
    assert not strict.is_valid({"PATH\n": "/bin"})
    loose = json_schema.validator(
        {"patternProperties": {"^[A-Z]+$": {"type": "string"}}, "additionalProperties": {"type": "null"}}
    )
    assert not loose.is_valid({"PATH\n": "/bin"})


@pytest.mark.parametrize(
    ("pattern", "whole"),
    [
        ("^a$", r"^a\Z"),
        (r"^a\$", r"^a\$"),
        ("^[$]$", r"^[$]\Z"),
        ("^[]$]$", r"^[]$]\Z"),
        ("^[^]$]$", r"^[^]$]\Z"),
        (r"^[\]$]$", r"^[\]$]\Z"),
        (r"^\\$", r"^\\" + r"\Z"),
        ("a$|b$", r"a\Z|b\Z"),
        ("", ""),
    ],
)
def test_only_anchors_are_replaced(pattern: str, whole: str) -> None:
    """A `$` that is escaped or in a character set is a literal."""
    assert quick_check.whole_value_pattern(pattern) == whole


def test_inputs_are_matched_completely() -> None:
    """A service name followed by a newline and a command is refused."""
    action = with_input({"service": {**TEXT, "pattern": "^[a-z]+$"}})
    assert action.check_input({"service": "nginx"}) == {"service": "nginx"}
    for value in ("nginx\n", "nginx\n; rm -rf /", "\nnginx"):
        with pytest.raises(InvalidInput):
            action.check_input({"service": value})
