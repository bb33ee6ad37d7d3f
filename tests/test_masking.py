"""Secrets: which inputs are secret, and masking in messages."""

from __future__ import annotations

from typing import Any

import pytest

from collective.masking import hide, is_secret, texts

WHOLE: dict[str, Any] = {
    "$defs": {
        "key": {"type": "string", "writeOnly": True},
        "open": {"type": "string"},
        "loop": {"$ref": "#/$defs/loop"},
        "odd/~name": {"properties": {"deep": {"$ref": "#/$defs/key"}}},
    }
}


@pytest.mark.parametrize(
    ("schema", "secret"),
    [
        ({"writeOnly": True}, True),
        ({"writeOnly": False}, False),
        ({"properties": {"password": {"writeOnly": True}}}, True),
        ({"properties": {"writeOnly": {"type": "string"}}}, False),
        ({"type": "array", "items": {"writeOnly": True}}, True),
        ({"anyOf": [{"type": "null"}, {"writeOnly": True}]}, True),
        ({"$ref": "#/$defs/key"}, True),
        ({"$ref": "#/$defs/open"}, False),
        ({"$ref": "#/$defs/odd~1~0name"}, True),
        ({"$ref": "#/$defs/loop"}, False),
        ({"$ref": "#/$defs/missing"}, False),
        ({"type": "string"}, False),
        (True, False),
    ],
)
def test_a_schema_with_a_secret_part_is_secret(schema: Any, secret: bool) -> None:
    """The keyword `writeOnly` is found at any depth and behind any $ref."""
    assert is_secret(schema, WHOLE) is secret


@pytest.mark.parametrize(
    ("value", "text", "shown"),
    [
        ("hunter2", "no hunter2, no 'hunter2'", "no ********, no '********'"),
        ("it's\n", r"""ValueError("it's\n") and {"a": "it's\n"}""", 'ValueError("********") and {"a": "********"}'),
        ("é", r"\u00e9 is é", "******** is ********"),
        ({"user": ["root"], "pin": 4711}, "root has 4711", "******** has ********"),
        (["ab", "abc"], "abc ab", "******** ********"),
        (True, "True is not secret", "True is not secret"),
        ("", "nothing", "nothing"),
    ],
)
def test_no_message_shows_a_secret(value: Any, text: str, shown: str) -> None:
    """Secrets are masked as they are, and in the forms of Python and JSON."""
    assert hide(text, texts(value)) == shown


@pytest.mark.parametrize("reference", ["#/$defs/my%20key", "#/$defs/my key", "#/allOf/0", "#/$defs/list/anyOf/1"])
def test_a_secret_behind_a_reference_is_found(reference: str) -> None:
    """References may be percent-encoded and lead into lists."""
    secret = {"type": "string", "writeOnly": True}
    root = {"$defs": {"my key": secret, "list": {"anyOf": [{}, secret]}}, "allOf": [secret]}
    assert is_secret({"$ref": reference}, root)
    assert not is_secret({"$ref": "#/$defs/list/anyOf/0"}, root)
