"""JSON Schema as DDLs and policies mean it: 2020-12, nothing from elsewhere, patterns that span the whole value.

check_schema   is this a schema? (when a file is read)
validator      what checks values by it ─► first_fault
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from jsonschema.exceptions import SchemaError, best_match
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from collective.errors import DDLError


def check_schema(schema: Mapping[str, Any], where: str) -> None:
    """Check that `schema` is one that JSON Schema allows; raise DDLError, its text beginning with `where`."""
    _check_words(schema, where)
    resolver = Registry().resolver_with_root(DRAFT202012.create_resource(schema))
    for word, value in _strings(schema, ("$id", "$schema", "$ref", "$dynamicRef")):
        if word in ("$id", "$schema"):  # what a $ref means, and which patterns span the whole value, would change
            raise DDLError(f"{where}: {word} '{value}': leave it out, everything here is JSON Schema 2020-12")
        try:
            meant = resolver.lookup(value).contents
        except (Unresolvable, ValueError):  # ValueError: no URI at all
            raise DDLError(f"{where}: $ref '{value}' is not in this schema") from None
        _check_words(meant, f"{where}: $ref '{value}'")
    properties: Mapping[str, Any] = schema.get("properties", {})
    defaults = {
        name: value["default"]
        for name, value in properties.items()
        if isinstance(value, Mapping) and "default" in value  # true and false are schemas too
    }
    for error in validator(schema).iter_errors(defaults):
        if error.absolute_path:  # else it is about inputs that a default does not give
            place = ".".join(str(step) for step in error.absolute_path)
            raise DDLError(f"{where}: the default of '{place}' breaks its own schema: {error.message}")


def _check_words(schema: Any, where: str) -> None:
    try:
        Draft202012Validator.check_schema(schema, format_checker=FormatChecker(formats=["regex"]))
    except SchemaError as wrong:
        raise DDLError(f"{where}{wrong.json_path[1:]}: {wrong.message}") from None


def _strings(schema: Any, words: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield each of these `words` of a schema that has a text, with its text; input names are no words."""
    if isinstance(schema, Mapping):
        for word, value in schema.items():
            if word in words and isinstance(value, str):
                yield word, value
            else:
                yield from _strings(value, words)
    elif isinstance(schema, list):
        for value in schema:
            yield from _strings(value, words)


def first_fault(validator: Draft202012Validator, data: Mapping[str, Any]) -> ValidationError | None:
    """Return what is wrong with `data`, the most telling fault; None when nothing is."""
    try:
        error: ValidationError | None = best_match(validator.iter_errors(data))
    except RecursionError:
        return ValidationError("is nested too deeply, or a $ref of the DDL leads back to itself")
    except ArithmeticError:  # `multipleOf` of a number beyond a float's range
        return ValidationError("holds a number that is too large to be checked")
    return error


# -- patterns: JSON Schema means ECMA-262's `$`, the very end; Python's also matches before a last newline.


def _pattern(_validator: Any, pattern: str, instance: Any, _schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not re.search(whole_value_pattern(pattern), instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def whole_value_pattern(pattern: str) -> str:
    r"""Return `pattern` with each `$` that is an anchor made `\Z`, so that no trailing newline slips through."""
    parts = re.findall(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", pattern, re.DOTALL)
    return "".join(r"\Z" if part == "$" else part for part in parts)


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    yield from _WORDS["patternProperties"](validator, _whole_keys(patterns), instance, schema)


def _additional_properties(
    validator: Any, allowed: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if "patternProperties" in schema:
        schema = {**schema, "patternProperties": _whole_keys(schema["patternProperties"])}
    yield from _WORDS["additionalProperties"](validator, allowed, instance, schema)


def _whole_keys(patterns: Mapping[str, Any]) -> dict[str, Any]:
    return {whole_value_pattern(pattern): value for pattern, value in patterns.items()}


_WORDS: Mapping[str, Any] = Draft202012Validator.VALIDATORS
_OURS = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
}
_Validator: Any = extend(Draft202012Validator, _OURS)  # type: ignore[no-untyped-call]


def validator(schema: Mapping[str, Any]) -> Draft202012Validator:
    """Return what checks values by `schema`, with patterns as above."""
    # An empty registry: a `$ref` to somewhere else is an error, never a download.
    made: Draft202012Validator = _Validator(schema, registry=Registry())
    return made
