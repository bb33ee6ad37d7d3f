"""Recognize schemas of DDLs that are certainly valid, without importing jsonschema; see `quick_check.py`.

What is accepted here, `json_schema.problems` has no objection to. It judges all other schemas.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collective.quick_check import certainly_valid, whole_value_pattern
from collective.time_limit import check_expression

_TEXT = {"type": "string"}
_BOOLEAN = {"type": "boolean"}
_NUMBER = {"type": "number"}
_COUNT = {"type": "integer", "minimum": 0}
_SCHEMA = {"anyOf": [_BOOLEAN, {"$ref": "#"}]}
_SCHEMAS = {"type": "array", "minItems": 1, "items": _SCHEMA}
_NAMES = {"type": "array", "items": _TEXT, "uniqueItems": True}
_TYPE = {"enum": ["null", "boolean", "integer", "number", "string", "array", "object"]}

# A part of the meta-schema of 2020-12: the keywords that `quick_check` knows.
_META: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "type": {"anyOf": [_TYPE, {"type": "array", "minItems": 1, "items": _TYPE, "uniqueItems": True}]},
        "enum": {"type": "array"},
        "const": True,
        **dict.fromkeys(("title", "description", "$comment", "pattern"), _TEXT),
        **dict.fromkeys(("deprecated", "readOnly", "writeOnly", "uniqueItems", "volatile"), _BOOLEAN),
        **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _NUMBER),
        **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), _COUNT),
        **dict.fromkeys(("items", "additionalProperties", "propertyNames"), _SCHEMA),
        **dict.fromkeys(("anyOf", "allOf"), _SCHEMAS),
        "default": True,
        "examples": {"type": "array"},
        "required": _NAMES,
        "properties": {"type": "object", "additionalProperties": _SCHEMA},
    },
}


def certainly_a_schema(schema: Any, ours: frozenset[str] = frozenset()) -> bool:
    """Return whether a schema is certainly valid, and each keyword enforced; `ours` as in `json_schema.problems`."""
    if not certainly_valid(_META, schema):
        return False
    from collective import schema_keywords

    return (
        next(schema_keywords.problems(schema, ours), None) is None
        and all(_has_expression(part) for _, part in schema_keywords.subschemas(schema))
        and _has_valid_defaults(schema)
    )


def _has_expression(schema: Mapping[str, Any]) -> bool:
    """Return whether the pattern of a schema is a regular expression."""
    try:
        return "pattern" not in schema or check_expression(whole_value_pattern(schema["pattern"]))
    except ValueError:
        return False


def _has_valid_defaults(schema: Mapping[str, Any]) -> bool:
    properties = schema.get("properties", {})
    parts = [part for part in properties.values() if isinstance(part, Mapping) and "default" in part]
    return all(certainly_valid(part, part["default"]) for part in parts)
