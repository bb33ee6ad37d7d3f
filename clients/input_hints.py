"""Describe what an input takes, with an example that its schema accepts, made of the text that was refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from collective.clients.input_conversion import EXPECTED, convert
from collective.schema_types import Types, resolved, types

_VALUES: Mapping[str, Any] = {
    "string": "a",
    "integer": 1,
    "number": 1,
    "boolean": True,
    "object": {"a": 1},
    "array": [1],
}
_LONGEST = 200  # characters of an example


def expected(text: str, kinds: Types, schema: Any, root: Mapping[str, Any], accepts: Callable[[Any], bool]) -> str:
    """Return the types that an input takes, with an example for lists and objects; `text` was refused."""
    found = []
    for kind, description in EXPECTED.items():
        if kind in kinds and not (kind == "integer" and "number" in kinds):
            value = next(filter(accepts, _examples(kind, text, resolved(schema, root), root)), None)
            example = "" if value is None else json.dumps(value, ensure_ascii=False)
            found.append(f"{description} (such as {example})" if 0 < len(example) <= _LONGEST else description)
    return " or ".join(found)


def _examples(kind: str, text: str, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Iterator[Any]:
    """Yield values that resemble `text`, then others; some may not be valid."""
    if kind not in ("array", "object"):
        return
    yield from _from_text(kind, text, schema, root)
    yield from (
        value for value in schema.get("examples", ()) if isinstance(value, {"array": list, "object": dict}[kind])
    )
    if kind == "array":
        value = _value(schema.get("items", True), root)
        yield from ([1, 2], ["a", "b"]) if value is None else ([value, 2 if value == 1 else "b"], [value])
    else:
        if members := {name: _value(part, root) for name, part in _members(schema).items()}:
            yield members
        value = _value(schema.get("additionalProperties", True), root)
        yield {"A" if isinstance(value, str) else "a": 1 if value is None else value}


def _from_text(kind: str, text: str, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Iterator[Any]:
    parts = [part.strip() for part in text.split(",")]
    if not all(parts) or text.lstrip()[:1] in ("[", "{"):
        return
    try:
        if kind == "array":
            yield [_item(part, schema.get("items", True), root) for part in parts]
        else:
            pairs = [part.partition("=" if "=" in part else ":") for part in parts]
            further = schema.get("additionalProperties", True)
            members = schema.get("properties", {})
            if all(name and mark for name, mark, _ in pairs):
                yield {name: _item(value, members.get(name, further), root) for name, _, value in pairs}
    except ValueError:
        return


def _item(text: str, schema: Any, root: Mapping[str, Any]) -> Any:
    return convert(text, types(schema, root) or frozenset(["integer", "string"]), lambda _value: True)


def _members(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    properties = schema.get("properties", {})
    names = schema.get("required") or list(properties)[:1]
    return {name: properties[name] for name in names if name in properties}


def _value(schema: Any, root: Mapping[str, Any]) -> Any:
    """Return a value of a schema: one that it names, or one of its type; None for any type."""
    described = resolved(schema, root)
    named = [*described.get("examples", ()), *described.get("enum", ()), *_named(described)]
    if named:
        return named[0]
    kinds = types(schema, root) or ()
    return next((value for kind, value in _VALUES.items() if kind in kinds), None)


def _named(schema: Mapping[str, Any]) -> Iterator[Any]:
    yield from (schema[keyword] for keyword in ("const", "default") if keyword in schema)
