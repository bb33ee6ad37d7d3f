"""Accept valid JSON quickly: a check of the few keywords that the schemas of messages use, without jsonschema.

jsonschema takes 60 µs for a reply and 50 ms to import. What is accepted here is valid; anything else is left to
jsonschema, which decides and explains. `tests/test_quick_schema.py` compares both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Accepts = Callable[[Any], bool]

_TITLES = frozenset({"$schema", "$id", "title", "description"})
_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_BOUNDS: Mapping[str, Callable[[Any, Any], bool]] = {
    "minimum": lambda value, limit: value >= limit,
    "maximum": lambda value, limit: value <= limit,
    "exclusiveMinimum": lambda value, limit: value > limit,
}
_LENGTHS = ("minLength", "maxLength")
_MEMBERS = ("properties", "required", "additionalProperties", "maxProperties")


def acceptor(schema: Mapping[str, Any]) -> Accepts:
    """Return a function that returns whether a value is certainly valid. Raises ValueError for an unknown keyword."""
    known = {*_TITLES, *_BOUNDS, *_LENGTHS, *_MEMBERS, "type", "const", "enum", "pattern", "items"}
    if unknown := schema.keys() - known:
        raise ValueError(f"unknown keywords: {', '.join(sorted(unknown))}")
    checks = [
        *_of_type(schema),
        *_of_value(schema),
        *_of_number(schema),
        *_of_string(schema),
        *_of_array(schema),
        *_of_object(schema),
    ]
    return lambda value: all(check(value) for check in checks)


def _of_type(schema: Mapping[str, Any]) -> list[Accepts]:
    if "type" not in schema:
        return []
    names = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    types = frozenset(kind for name in names for kind in _TYPES[name])
    return [lambda value: type(value) in types]  # exact, because a bool is an int


def _of_value(schema: Mapping[str, Any]) -> list[Accepts]:
    if "const" in schema:
        return _of_value({"enum": [schema["const"]]})
    if "enum" not in schema:
        return []
    allowed = frozenset(schema["enum"])
    if not all(isinstance(one, str) for one in allowed):
        raise ValueError("enum: only strings")
    return [lambda value: type(value) is str and value in allowed]


def _of_number(schema: Mapping[str, Any]) -> list[Accepts]:
    bounds = [(check, schema[name]) for name, check in _BOUNDS.items() if name in schema]
    if not bounds:
        return []
    return [lambda value: type(value) not in (int, float) or all(check(value, limit) for check, limit in bounds)]


def _of_string(schema: Mapping[str, Any]) -> list[Accepts]:
    checks: list[Accepts] = []
    if "minLength" in schema or "maxLength" in schema:
        least, most = schema.get("minLength", 0), schema.get("maxLength", float("inf"))
        checks.append(lambda value: type(value) is not str or least <= len(value) <= most)
    if "pattern" in schema:
        search = re.compile(schema["pattern"]).search
        checks.append(lambda value: type(value) is not str or search(value) is not None)
    return checks


def _of_array(schema: Mapping[str, Any]) -> list[Accepts]:
    if "items" not in schema:
        return []
    accepts = acceptor(schema["items"])
    return [lambda value: type(value) is not list or all(map(accepts, value))]


def _of_object(schema: Mapping[str, Any]) -> list[Accepts]:
    if not any(name in schema for name in _MEMBERS):
        return []
    required = frozenset(schema.get("required", ()))
    members = [(name, acceptor(part)) for name, part in schema.get("properties", {}).items()]
    allowed = None if schema.get("additionalProperties", True) else frozenset(schema.get("properties", {}))
    most = schema.get("maxProperties", float("inf"))

    def accepts(value: Any) -> bool:
        if type(value) is not dict:
            return True
        if not value.keys() >= required or len(value) > most or (allowed is not None and value.keys() - allowed):
            return False
        return all(check(value[name]) for name, check in members if name in value)

    return [accepts]
