"""Recognize values that certainly match a JSON Schema, without importing jsonschema, which takes as long as botocore.

`certainly_valid` knows the keywords that the schemas of messages and the DDLs of usual agents have. What it does not
know, and every mistake, is for jsonschema to judge, which also describes the mistake:

    certainly_valid(schema, value)   True: valid      False: ask jsonschema

Patterns are those of DDLs (`whole_value_pattern`): what they accept, jsonschema accepts as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from collective.schema_types import target
from collective.time_limit import check_time, limited, search

_TYPES: Mapping[str, frozenset[type]] = {
    "null": frozenset({type(None)}),
    "boolean": frozenset({bool}),
    "integer": frozenset({int}),  # jsonschema accepts 1.0 as well
    "number": frozenset({int, float}),
    "string": frozenset({str}),
    "array": frozenset({list}),
    "object": frozenset({dict}),
}
_KNOWN_TYPES = frozenset().union(*_TYPES.values())
_NUMBERS = (int, float)
_OF_STRINGS = frozenset({"type", "minLength", "maxLength"})
_UNBOUNDED = float("inf")
_ANNOTATIONS = frozenset(
    """$schema $id $defs $comment title description default examples deprecated readOnly writeOnly volatile""".split()
)


def certainly_valid(schema: Any, value: Any, seconds: float | None = None) -> bool:
    """Return whether `value` certainly matches `schema`. Raise CheckTimeout if that takes more than `seconds`."""
    try:
        if seconds is None:
            return _valid(schema, value, schema)
        with limited(seconds):
            return _valid(schema, value, schema)
    except (RecursionError, re.error):
        return False


@lru_cache(maxsize=256)
def whole_value_pattern(pattern: str) -> str:
    r"""Return `pattern` with each anchor `$` replaced by `\Z`, which does not match before a trailing newline."""
    if "$" not in pattern:
        return pattern
    parts = re.findall(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", pattern, re.DOTALL)
    return "".join(r"\Z" if part == "$" else part for part in parts)


def _valid(schema: Any, value: Any, root: Any) -> bool:
    if schema is True:
        return True
    if type(schema) is not dict or type(value) not in _KNOWN_TYPES:
        return False
    check_time()
    for keyword, wanted in schema.items():
        if keyword in _ANNOTATIONS:
            continue
        check = _PLAIN.get(keyword)
        if check is not None:
            if not check(wanted, value):
                return False
            continue
        nested = _NESTED.get(keyword)
        if nested is None or not nested(wanted, value, schema, root):
            return False
    return True


# -- keywords whose value is not a schema


def _type(wanted: Any, value: Any) -> bool:
    kind = type(value)
    if type(wanted) is str:
        return kind in _TYPES.get(wanted, ())
    return any(kind in _TYPES.get(name, ()) for name in wanted)


def _const(wanted: Any, value: Any) -> bool:
    return type(wanted) is type(value) and type(value) not in (list, dict) and wanted == value


def _enum(wanted: Any, value: Any) -> bool:
    return any(_const(one, value) for one in wanted)


def _limit(kind: tuple[type, ...] | type, check: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Return the check of a keyword for values of one kind; it has no effect on others, nor on booleans."""
    return lambda wanted, value: not isinstance(value, kind) or type(value) is bool or check(wanted, value)


def _unique(wanted: Any, value: Any) -> bool:
    if not wanted or type(value) is not list:
        return True
    return all(type(item) is str for item in value) and len(set(value)) == len(value)


_PLAIN: Mapping[str, Callable[[Any, Any], bool]] = {
    "type": _type,
    "const": _const,
    "enum": _enum,
    "minimum": _limit(_NUMBERS, lambda wanted, value: value >= wanted),
    "maximum": _limit(_NUMBERS, lambda wanted, value: value <= wanted),
    "exclusiveMinimum": _limit(_NUMBERS, lambda wanted, value: value > wanted),
    "exclusiveMaximum": _limit(_NUMBERS, lambda wanted, value: value < wanted),
    "minLength": _limit(str, lambda wanted, value: len(value) >= wanted),
    "maxLength": _limit(str, lambda wanted, value: len(value) <= wanted),
    "pattern": _limit(str, lambda wanted, value: search(whole_value_pattern(wanted), value)),
    "minItems": _limit(list, lambda wanted, value: len(value) >= wanted),
    "maxItems": _limit(list, lambda wanted, value: len(value) <= wanted),
    "uniqueItems": _unique,
    "minProperties": _limit(dict, lambda wanted, value: len(value) >= wanted),
    "maxProperties": _limit(dict, lambda wanted, value: len(value) <= wanted),
    "required": _limit(dict, lambda wanted, value: all(name in value for name in wanted)),
}


# -- keywords whose value is a schema, or schemas


def _properties(wanted: Any, value: Any, _schema: Any, root: Any) -> bool:
    if type(value) is not dict:
        return True
    return all(_valid(one, value[name], root) for name, one in wanted.items() if name in value)


def _additional(wanted: Any, value: Any, schema: Any, root: Any) -> bool:
    if type(value) is not dict or wanted is True:
        return True
    if "patternProperties" in schema:
        return False
    named = schema.get("properties", ())
    extras = [name for name in value if name not in named]
    return not extras if wanted is False else all(_valid(wanted, value[name], root) for name in extras)


def _names(wanted: Any, value: Any, _schema: Any, root: Any) -> bool:
    return type(value) is not dict or all(_valid(wanted, name, root) for name in value)


def _items(wanted: Any, value: Any, schema: Any, root: Any) -> bool:
    if type(value) is not list:
        return True
    if "prefixItems" in schema:
        return False
    if type(wanted) is dict and wanted.get("type") == "string" and _OF_STRINGS.issuperset(wanted):
        # A small compressed message can hold very many, and is checked before its signature.
        if not {str}.issuperset(map(type, value)):
            return False
        lengths = set(map(len, value))
        shortest, longest = wanted.get("minLength", 0), wanted.get("maxLength", _UNBOUNDED)
        return not lengths or (shortest <= min(lengths) and max(lengths) <= longest)
    return all(_valid(wanted, item, root) for item in value)


def _reference(wanted: Any, value: Any, _schema: Any, root: Any) -> bool:
    return type(wanted) is str and wanted.startswith("#") and _valid(target(wanted, root), value, root)


_NESTED: Mapping[str, Callable[[Any, Any, Any, Any], bool]] = {
    "properties": _properties,
    "additionalProperties": _additional,
    "propertyNames": _names,
    "items": _items,
    "$ref": _reference,
    "allOf": lambda wanted, value, _schema, root: all(_valid(one, value, root) for one in wanted),
    "anyOf": lambda wanted, value, _schema, root: any(_valid(one, value, root) for one in wanted),
}
