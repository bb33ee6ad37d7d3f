"""The inputs that a rule's schema names, to find names that no action has.

JSON Schema says nothing about an absent property: with a misspelt name, a schema that should restrict an input accepts
every value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from collective.schema_types import Types

InputTypes = Mapping[str, "Types | None"]
Actions = Mapping[tuple[str, str], InputTypes]
"""The types of the inputs of known actions, by agent and action. Data functions are actions of the agent `data`."""

_IN_LISTS = ("allOf", "anyOf", "oneOf")
_IN_PLACE = ("not", "if", "then", "else")


def named(schema: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of properties of the inputs as a whole, wherever a schema for them has them."""
    return frozenset(name for part in in_place(schema) for name in _names(part))


def _names(schema: Mapping[str, Any]) -> Iterator[str]:
    yield from schema.get("properties", ())
    yield from schema.get("required", ())
    yield from schema.get("dependentSchemas", ())
    for name, needed in schema.get("dependentRequired", {}).items():
        yield from (name, *needed)
    names = schema.get("propertyNames", True)
    if isinstance(names, dict):
        allowed = [*names.get("enum", ()), names.get("const")]
        yield from (name for name in allowed if isinstance(name, str))


def in_place(root: Mapping[str, Any], start: Any = None) -> Iterator[Mapping[str, Any]]:
    """Yield the schema `start` (by default `root`) and those of its subschemas that are about the same value."""
    pending: list[Any] = [root if start is None else start]
    seen: set[int] = set()
    while pending:
        schema = pending.pop()
        if not isinstance(schema, dict) or id(schema) in seen:  # true and false are schemas too
            continue
        seen.add(id(schema))
        yield schema
        pending += _subschemas(schema)
        if "$ref" in schema:
            pending += _referenced(root, schema["$ref"])


def _referenced(root: Mapping[str, Any], reference: Any) -> Iterator[Any]:
    """Yield the schema at `reference`, if there is one: others are refused when the policy is read."""
    from referencing import Registry  # slow to import, and few policies need it
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    resolver = Registry().resolver_with_root(DRAFT202012.create_resource(root))
    with suppress(Unresolvable, ValueError):
        yield resolver.lookup(reference).contents


def _subschemas(schema: Mapping[str, Any]) -> Iterable[Any]:
    lists = (part for keyword in _IN_LISTS for part in schema.get(keyword, ()))
    single = (schema[keyword] for keyword in _IN_PLACE if keyword in schema)
    return (*lists, *single, *schema.get("dependentSchemas", {}).values())
