"""Find the JSON types that a schema allows, through its `$ref`s and branches.

types(schema, root) ─► {"integer", "null"}, None: any      ambiguity(schema, root) ─► a reason, or None
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

Types = frozenset[str]

_IMPLIED = {
    **dict.fromkeys(("pattern", "minLength", "maxLength", "format"), "string"),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), "number"),
    **dict.fromkeys(("items", "prefixItems", "contains", "minItems", "maxItems", "uniqueItems"), "array"),
    **dict.fromkeys(("properties", "patternProperties", "additionalProperties", "propertyNames"), "object"),
}


def types(schema: Any, root: Mapping[str, Any], seen: frozenset[str] = frozenset()) -> Types | None:
    """Return the types of the values that `schema` allows, None for any; `$ref`s point into `root`.

    A schema without any word on types is taken to mean the types that its other keywords are about.
    """
    if not isinstance(schema, Mapping):
        return None if schema else frozenset()
    found = _common(_stated(schema, root, seen))
    if found is not None:
        return found
    implied = frozenset(_IMPLIED[keyword] for keyword in schema if keyword in _IMPLIED)
    return implied or None


def target(reference: str, root: Mapping[str, Any]) -> Any:
    """Return the target of a `$ref` such as `#/$defs/key` (a JSON pointer, RFC 6901), or None."""
    found: Any = root
    for step in unquote(reference.removeprefix("#")).split("/")[1:]:
        if isinstance(found, list):
            found = found[int(step)] if step.isdecimal() and int(step) < len(found) else None
        else:
            found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return found


def resolved(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema behind the `$ref`s of `schema`; an empty one for `true`, `false` and circular references."""
    seen: set[str] = set()
    while isinstance(schema, Mapping) and isinstance(schema.get("$ref"), str) and schema["$ref"] not in seen:
        seen.add(schema["$ref"])
        schema = target(schema["$ref"], root)
    return schema if isinstance(schema, Mapping) else {}


def ambiguity(schema: Any, root: Mapping[str, Any]) -> str | None:
    """Return why a value of `schema` could not be given as text, or None: two values with the same text."""
    values = {json.dumps(value, sort_keys=True): value for value in _listed(resolved(schema, root), root)}
    for text, count in Counter(map(as_text, values.values())).items():
        if count > 1:
            same = " and ".join(written for written, value in values.items() if as_text(value) == text)
            return f"the values {same} are the same as text (remove one)"
    return None


def as_text(value: Any) -> str:
    """Return how a value is written on a command line: a string as it is, others as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def type_of(value: Any) -> str:
    """Return the JSON type of a value."""
    if value is None:
        return "null"
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return kinds[type(value)]


def _stated(schema: Mapping[str, Any], root: Mapping[str, Any], seen: frozenset[str]) -> Iterator[Types | None]:
    """Yield the types that each keyword of a schema allows."""
    if "type" in schema:
        yield frozenset([schema["type"]] if isinstance(schema["type"], str) else schema["type"])
    for keyword in ("enum", "const"):
        if keyword in schema:
            yield frozenset(map(type_of, schema["enum"] if keyword == "enum" else [schema["const"]]))
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference not in seen:
        yield types(target(reference, root), root, seen | {reference})
    for part in schema.get("allOf", ()):
        yield types(part, root, seen)
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            yield _any_of(types(part, root, seen) for part in schema[keyword])


def _common(allowed: Iterable[Types | None]) -> Types | None:
    """Return the types that all of `allowed` contain; an integer is a number too."""
    found: Types | None = None
    for kinds in allowed:
        if kinds is not None:
            found = kinds if found is None else _narrowed(found, kinds) | _narrowed(kinds, found)
    return found


def _narrowed(kinds: Types, others: Types) -> Types:
    return frozenset(kind for kind in kinds if kind in others or (kind == "integer" and "number" in others))


def _any_of(allowed: Iterable[Types | None]) -> Types | None:
    found: Types = frozenset()
    for kinds in allowed:
        if kinds is None:
            return None
        found |= kinds
    return found


def _listed(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the values that a schema and its branches list."""
    yield from schema.get("enum", ())
    if "const" in schema:
        yield schema["const"]
    for keyword in ("anyOf", "oneOf"):
        for part in schema.get(keyword, ()):
            branch = resolved(part, root)
            yield from branch.get("enum", ())
            yield from [branch["const"]] if "const" in branch else ()
