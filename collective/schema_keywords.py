"""Find the keywords of a JSON Schema that would have no effect: misspelt, not enforced here, or on another type.

A validator ignores such keywords, so a policy or DDL would accept values that its author meant to refuse.

    problems(schema) ─► Problem(path, text) …      subschemas(schema) ─► (path, schema) …, at every depth
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from collective.schema_types import type_of
from collective.string_formats import FORMATS
from collective.suggestions import suggest

Path = tuple["str | int", ...]

_ANNOTATIONS = frozenset("title description default examples deprecated readOnly writeOnly $comment".split())
_BY_TYPE: Mapping[str, frozenset[str]] = {
    "number": frozenset("multipleOf minimum exclusiveMinimum maximum exclusiveMaximum".split()),
    "string": frozenset("minLength maxLength pattern format".split()),
    "array": frozenset("items prefixItems contains minContains maxContains minItems maxItems uniqueItems".split()),
    "object": frozenset(
        """properties patternProperties additionalProperties propertyNames minProperties maxProperties required
        dependentRequired dependentSchemas""".split()
    ),
}
_ONE = frozenset("not if then else items contains additionalProperties propertyNames".split())  # values: a schema
_LISTS = frozenset("allOf anyOf oneOf prefixItems".split())  # values: a list of schemas
_MAPS = frozenset("properties patternProperties dependentSchemas $defs".split())  # values: a mapping to schemas
_KEYWORDS = frozenset({"type", "enum", "const", "$ref"}).union(_ANNOTATIONS, _ONE, _LISTS, _MAPS, *_BY_TYPE.values())
_NEEDED: Mapping[str, tuple[str, ...]] = {  # one of these must stand beside the keyword
    "if": ("then", "else"),
    **dict.fromkeys(("then", "else"), ("if",)),
    **dict.fromkeys(("minContains", "maxContains"), ("contains",)),
}

# Keywords of the dialect that are not enforced here.
_UNSUPPORTED = {
    **dict.fromkeys(("$id", "$schema", "$vocabulary"), "schemas are JSON Schema 2020-12"),
    **dict.fromkeys(("$anchor", "$dynamicAnchor", "$dynamicRef"), "use $ref with a path such as '#/$defs/name'"),
    **dict.fromkeys(("contentEncoding", "contentMediaType", "contentSchema"), "use 'pattern'"),
    "unevaluatedItems": "use 'items'",
    "unevaluatedProperties": "use 'additionalProperties'",
}
# Words of other dialects and tools.
_OTHER_WORDS = {
    "additionalItems": "use 'items'",
    "choices": "did you mean 'enum'?",
    "definitions": "did you mean '$defs'?",
    "dependencies": "use 'dependentRequired' or 'dependentSchemas'",
    "divisibleBy": "did you mean 'multipleOf'?",
    "id": "schemas are self-contained",
    "nullable": "add \"null\" to 'type'",
    "optional": "list the others in 'required'",
    "prompt": "did you mean 'title'?",
    "regex": "did you mean 'pattern'?",
    "secret": "did you mean 'writeOnly'?",
    "validation": "use 'pattern', 'enum' or 'format'",
}
_PLAIN = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]*")


@dataclass(frozen=True)
class Problem:
    """A problem in a schema; `path` leads from the root to the schema with the `keyword`, if it is about one."""

    path: Path
    text: str
    keyword: str = ""

    def described(self, where: str) -> str:
        """Return the problem in one line that begins with its place below `where`."""
        return f"{where}{written(self.path)}: {self.text}"


def written(path: Sequence[str | int]) -> str:
    """Return a path as it is appended to the name of a document: `.properties.a[0]`."""
    return "".join(f".{step}" if isinstance(step, str) and _PLAIN.fullmatch(step) else f"[{step!r}]" for step in path)


def problems(schema: Any, ours: frozenset[str] = frozenset()) -> Iterator[Problem]:
    """Yield what is wrong with the keywords of a schema that is valid by the dialect's meta-schema.

    `ours` are keywords of our own in the schemas of the root's `properties`.
    """
    for path, part in subschemas(schema):
        known = ours if path[:1] == ("properties",) and len(path) == len(("properties", "name")) else frozenset()
        for keyword, value in part.items():
            if keyword not in known and (text := _problem(keyword, value, part)):
                yield Problem(path, text, keyword)


def subschemas(schema: Any, path: Path = ()) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Yield each schema within `schema`, itself included, with its path. `true` and `false` have no keywords."""
    if not isinstance(schema, Mapping):
        return
    yield path, schema
    for keyword, value in schema.items():
        if keyword in _ONE:
            yield from subschemas(value, (*path, keyword))
        elif keyword in _LISTS and isinstance(value, list):
            for index, part in enumerate(value):
                yield from subschemas(part, (*path, keyword, index))
        elif keyword in _MAPS and isinstance(value, Mapping):
            for name, part in value.items():
                yield from subschemas(part, (*path, keyword, name))


def _problem(keyword: str, value: Any, schema: Mapping[str, Any]) -> str | None:
    if keyword in _UNSUPPORTED:
        shown = f"{keyword} '{value}' is not allowed" if isinstance(value, str) else f"'{keyword}' is not supported"
        return f"{shown} ({_UNSUPPORTED[keyword]})"
    if keyword not in _KEYWORDS:
        hint = _OTHER_WORDS.get(keyword) or _similar(keyword)
        return f"unknown JSON Schema keyword '{keyword}'" + (f" ({hint})" if hint else "")
    if keyword == "format" and value not in FORMATS:
        return f"format '{value}' is not enforced ({suggest(value, FORMATS, 'formats: ' + ', '.join(FORMATS))})"
    if keyword in _NEEDED and not any(needed in schema for needed in _NEEDED[keyword]):
        return f"'{keyword}' has no effect without '" + "' or '".join(_NEEDED[keyword]) + "'"
    types = _types(schema)
    if types and keyword in ("enum", "const"):
        return _other_types(keyword, value, types)
    about = types_of_keyword(keyword)
    if types and about and not about & types:
        return f"'{keyword}' has no effect on values of type {' or '.join(sorted(types))}"
    return None


def types_of_keyword(keyword: str) -> frozenset[str]:
    """Return the type of the values that a keyword is about, `number` for integers too; empty if it is about any."""
    return frozenset(kind for kind, keywords in _BY_TYPE.items() if keyword in keywords)


def _other_types(keyword: str, value: Any, types: frozenset[str]) -> str | None:
    """Return the problem of an `enum` or `const` with a value that the type excludes."""
    for one in value if keyword == "enum" else [value]:
        kind = type_of(one)
        if ("number" if kind == "integer" else kind) not in types:
            return (
                f"'{keyword}' has the value {json.dumps(one)[:100]}, which is not of type {' or '.join(sorted(types))}"
            )
    return None


def _types(schema: Mapping[str, Any]) -> frozenset[str]:
    kinds = schema.get("type", ())
    names = (kinds,) if isinstance(kinds, str) else kinds
    return frozenset("number" if name == "integer" else name for name in names)


def _similar(keyword: str) -> str:
    lower = {name.lower(): name for name in sorted(_KEYWORDS)}
    return (
        f"did you mean '{lower[keyword.lower()]}'?" if keyword.lower() in lower else suggest(keyword, sorted(_KEYWORDS))
    )
