"""The quick check accepts only what jsonschema accepts, and all that usual messages and DDLs contain."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collective import catalog, ddl, json_schema, schemas
from collective.bundled import DDLS
from collective.quick_check import certainly_valid
from collective.quick_schema import certainly_a_schema

SCHEMAS: list[Any] = [
    True,
    {"type": "integer", "minimum": 1, "maximum": 10},
    {"type": ["string", "null"], "minLength": 1, "maxLength": 3, "pattern": "^[a-z]+$"},
    {"enum": ["a", 1, None, True]},
    {"const": 0},
    {"type": "array", "items": {"type": "string", "maxLength": 2}, "uniqueItems": True, "maxItems": 3},
    {"items": {"type": ["integer", "boolean"]}, "minItems": 1},
    {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}, "additionalProperties": False},
    {"properties": {"a": {"const": 1}}, "additionalProperties": {"type": "string"}, "minProperties": 1},
    {"propertyNames": {"pattern": "^[ab]$"}, "maxProperties": 1},
    {"anyOf": [{"type": "integer"}, {"type": "string", "minLength": 2}]},
    {"allOf": [{"exclusiveMinimum": 0}, {"exclusiveMaximum": 5}]},
    {"$ref": "#/$defs/tree", "$defs": {"tree": {"type": ["array", "integer"], "items": {"$ref": "#/$defs/tree"}}}},
    {"not": {"type": "string"}},
    {"format": "date"},
    {"multipleOf": 2},
    {"prefixItems": [{"type": "string"}], "items": {"type": "integer"}},
    {"patternProperties": {"a": {"type": "integer"}}, "additionalProperties": False},
    {"type": "object", "dependentRequired": {"a": ["b"]}},
]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 12)
    | st.sampled_from([0.5, 1.0, "", "a", "ab", "abcd", "b\n", "2026-01-01"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(SCHEMAS), VALUES)
def test_what_is_certainly_valid_is_valid(schema: Any, value: Any) -> None:
    """A value that the quick check accepts has no error by jsonschema."""
    if certainly_valid(schema, value):
        assert schema is True or json_schema.first_error(json_schema.validator(schema), value) is None


@given(st.sampled_from(SCHEMAS[:12]), VALUES)
def test_known_keywords_are_decided(schema: Any, value: Any) -> None:
    """The quick check accepts every value that is valid by keywords it knows, integers as 1.0 excepted."""
    if schema is not True and not certainly_valid(schema, value) and "." not in json.dumps(value):
        if isinstance(value, list) and "uniqueItems" in schema:
            return  # items that are not strings are left to jsonschema
        assert json_schema.first_error(json_schema.validator(schema), value) is not None


@pytest.mark.parametrize("name", sorted(catalog.Catalog().paths))
def test_shipped_ddls_are_valid_and_need_no_jsonschema(name: str) -> None:
    """`ddl.read` does not check the DDLs of the standard agents again, so they are checked here, by both checks."""
    document = json.loads((DDLS / f"{name}.json").read_text(encoding="utf-8"))
    assert ddl.parse(document).text == ddl.read(DDLS / f"{name}.json").text
    assert certainly_valid(schemas.load("ddl"), document)
    for action in document["actions"].values():
        for part, ours in (("input", frozenset[str]()), ("output", frozenset({"volatile"}))):
            assert [*json_schema.problems(action[part], ours)] == []
            assert "oneOf" in json.dumps(action) or certainly_a_schema(action[part], ours)


WRONG: list[Any] = [
    {"type": "strin"},
    {"type": []},
    {"minimum": "1"},
    {"minLength": -1},
    {"pattern": "["},
    {"pattern": "a", "type": "integer"},
    {"required": ["a", "a"]},
    {"properties": {"a": 1}},
    {"colour": "red"},
    {"volatile": True},
    {"properties": {"a": {"type": "integer", "default": "x"}}},
    {"anyOf": []},
    {"$ref": "#/$defs/missing"},
    {"format": "colour"},
    {"$id": "https://example.com"},
]


@pytest.mark.parametrize("schema", WRONG, ids=json.dumps)
def test_wrong_schemas_are_left_to_jsonschema(schema: Any) -> None:
    """No schema with a problem is certainly a schema."""
    assert next(json_schema.problems(schema), None) is not None
    assert not certainly_a_schema(schema)
    nested = {"properties": {"a": schema}}
    assert not certainly_a_schema(nested) or [*json_schema.problems(nested)] == []  # only the root's defaults count


@given(st.sampled_from(SCHEMAS[1:]), st.sampled_from(SCHEMAS[1:]), st.sampled_from(["items", "properties", "anyOf"]))
def test_what_is_certainly_a_schema_has_no_problem(outer: Any, inner: Any, keyword: str) -> None:
    """A schema that the quick check accepts is accepted by the full check."""
    made = copy.deepcopy(outer)
    made[keyword] = {"items": inner, "properties": {"a": inner}, "anyOf": [inner]}[keyword]
    if certainly_a_schema(made):
        assert [*json_schema.problems(made)] == []


def test_a_valid_call_needs_no_jsonschema() -> None:
    """Reading a standard agent's DDL and checking its inputs and a reply does not import jsonschema."""
    script = (
        "import sys\n"
        "from collective.catalog import Catalog\n"
        "from collective import messages\n"
        "Catalog().action('package', 'status').check_input({'package': 'zsh'})\n"
        "reply = messages.Reply('0' * 32, '0' * 64, 'web1', 'package', 'status', 0, 'OK', {}, 1.0, 1.0)\n"
        "messages.encode(reply)\n"
        "sys.exit('jsonschema' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
