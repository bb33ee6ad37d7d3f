"""The usual mismatch is described without jsonschema, and as jsonschema does."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from collective import json_schema
from collective.ddl_mismatch import describe_mismatch
from collective.usual_mismatch import usual_mismatch

PARTS: list[Any] = [
    True,
    False,
    {"type": "string", "title": "A", "pattern": "^[a-z]+$", "maxLength": 3},
    {"type": ["integer", "null"], "minimum": 2, "maximum": 5, "default": 3},
    {"enum": ["a", "ab", 1.0, True]},
    {"type": "string", "format": "date"},
    {"pattern": "^a", "minimum": 2, "enum": ["a", 5]},
    {"type": "integer", "multipleOf": 2},
    {"anyOf": [{"type": "integer"}, {"pattern": "^a"}]},
    {"$ref": "#/$defs/name"},
]
PART = st.sampled_from(PARTS)
SCHEMAS = PART | st.fixed_dictionaries(
    {"properties": st.dictionaries(st.sampled_from(["a", "b", "c"]), PART), "$defs": st.just({"name": PARTS[2]})},
    optional={
        "type": st.just("object"),
        "required": st.just(["a"]),
        "additionalProperties": st.booleans(),
        "anyOf": st.just([{"required": ["a"]}, {"required": ["b"]}]),
    },
)
SCALARS = st.sampled_from([None, True, False, 0, 1, 2, 3, 6, 1.0, 2.5, "", "a", "ab", "abcd", "A", "b\n", "x" * 101])
VALUES = SCALARS | st.dictionaries(st.sampled_from(["a", "b", "c"]), SCALARS | st.lists(SCALARS, max_size=2))
REFUSED = {
    "pattern": ("package", "install", {"package": "bad name;"}),
    "type": ("package", "install", {"package": 1}),
    "enum": ("process", "signal", {"pattern": "^cron$", "signal": "TEM"}),
    "minimum": ("file", "read", {"path": "/etc/motd", "offset": -1}),
    "maximum": ("process", "top", {"count": 101}),
    "required": ("package", "install", {}),
}


@given(SCHEMAS, VALUES)
@example({"properties": {"a": {"enum": [1.0]}}}, {"a": 1})
@example({"properties": {"a": {"enum": ["a"]}}}, {"a": "ab"})
def test_a_usual_mismatch_is_described_as_jsonschema_does(schema: Any, value: Any) -> None:
    """The place, the keyword and the text are those of the error that jsonschema finds."""
    found = usual_mismatch(schema, value)
    if found is None:
        return
    error = json_schema.first_error(json_schema.validator(schema), value)
    assert error is not None
    assert (found.absolute_path, found.validator) == (tuple(error.absolute_path), error.validator)
    assert (found.validator_value, found.instance) == (error.validator_value, error.instance)
    assert describe_mismatch(found, "input", ()) == describe_mismatch(error, "input", ())


@pytest.mark.parametrize("keyword", REFUSED)
def test_a_usual_refusal_needs_no_jsonschema(keyword: str) -> None:
    """An input of a standard agent that fails one simple keyword, or is missing, is refused without jsonschema."""
    agent, action, inputs = REFUSED[keyword]
    script = (
        "import sys\n"
        "from collective.catalog import Catalog\n"
        "from collective.errors import RPCError\n"
        "try:\n"
        f"    Catalog().action({agent!r}, {action!r}).check_input({inputs!r})\n"
        "except RPCError as error:\n"
        "    print(error)\n"
        "sys.exit('jsonschema' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{agent} {action}: " in done.stdout
