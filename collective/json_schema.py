"""JSON Schema as DDLs and policies use it: 2020-12, no external references, `$` at the very end of a value only.

check_schema   checks a schema itself (when a file is read); `problems` returns all its problems
validator      returns what checks values ─► first_error
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from jsonschema.exceptions import SchemaError, best_match
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from collective import schema_keywords
from collective.errors import DDLError
from collective.schema_keywords import Problem
from collective.string_formats import CHECKER

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def check_schema(schema: Mapping[str, Any], where: str, ours: frozenset[str] = frozenset()) -> None:
    """Check that `schema` is valid JSON Schema 2020-12 and that each keyword is enforced; raise DDLError if not.

    The message begins with `where` and the place. `ours` are further keywords of the schemas in `properties`.
    """
    for problem in problems(schema, ours):
        raise DDLError(problem.described(where))


def problems(schema: Mapping[str, Any], ours: frozenset[str] = frozenset()) -> Iterator[Problem]:
    """Yield the problems of `schema`: values of keywords that the meta-schema refuses, or else all others.

    `$schema` is allowed at the root only, and only with this dialect; `$id` and external references are not.
    """
    if schema.get("$schema") == DIALECT:
        schema = _without_dialect(schema)
    invalid = _invalid(schema)
    if invalid is not None:
        yield invalid
        return
    found = [*schema_keywords.problems(schema, ours), *_dangling(schema)]
    yield from found or _wrong_defaults(schema)


def _invalid(schema: Any) -> Problem | None:
    """Return the most relevant error of a schema by the meta-schema of the dialect."""
    try:
        Draft202012Validator.check_schema(schema, format_checker=FormatChecker(formats=["regex"]))
    except SchemaError as error:
        return Problem(tuple(error.absolute_path), error.message)
    return None


def _dangling(schema: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the references that do not lead to a valid schema within `schema`."""
    resolver = Registry().resolver_with_root(DRAFT202012.create_resource(schema))
    for path, part in schema_keywords.subschemas(schema):
        if "$ref" not in part:
            continue
        reference = part["$ref"]
        try:
            target = resolver.lookup(reference).contents
        except (Unresolvable, ValueError):  # ValueError: not a URI
            yield Problem(path, f"$ref '{reference}' does not resolve within this schema")
            continue
        wrong = _invalid(target) or next(schema_keywords.problems(target), None)
        if wrong is not None and target is not schema:
            yield Problem(path, wrong.described(f"$ref '{reference}'"))


def _wrong_defaults(schema: Mapping[str, Any]) -> Iterator[Problem]:
    properties: Mapping[str, Any] = schema.get("properties", {})
    defaults = {
        name: value["default"]
        for name, value in properties.items()
        if isinstance(value, Mapping) and "default" in value  # true and false are schemas too
    }
    for error in validator(schema).iter_errors(defaults):
        if error.absolute_path:  # other errors are about inputs without a default
            place = ".".join(str(step) for step in error.absolute_path)
            yield Problem((), f"default of '{place}' does not match its schema: {error.message}")


def _without_dialect(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the root's `$schema`: where a `$ref` leads to it, jsonschema would change to the dialect's own validator."""
    return {keyword: value for keyword, value in schema.items() if keyword != "$schema"}


def first_error(validator: Validator, data: Any) -> ValidationError | None:
    """Return the most relevant error in `data`, or None."""
    try:
        error: ValidationError | None = best_match(validator.iter_errors(data))
    except RecursionError:
        return ValidationError("is nested too deeply, or a $ref of the DDL refers to itself")
    except ArithmeticError:  # `multipleOf` of a number beyond a float's range
        return ValidationError("contains a number that is too large")
    return error


# -- patterns: in ECMA-262 `$` matches only at the very end, in Python also before a trailing newline


def _pattern(_validator: Any, pattern: str, instance: Any, _schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not re.search(whole_value_pattern(pattern), instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def whole_value_pattern(pattern: str) -> str:
    r"""Return `pattern` with each anchor `$` replaced by `\Z`, which does not match before a trailing newline."""
    parts = re.findall(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", pattern, re.DOTALL)
    return "".join(r"\Z" if part == "$" else part for part in parts)


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    yield from _STANDARD["patternProperties"](validator, _whole_keys(patterns), instance, schema)


def _additional_properties(
    validator: Any, allowed: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if "patternProperties" in schema:
        schema = {**schema, "patternProperties": _whole_keys(schema["patternProperties"])}
    yield from _STANDARD["additionalProperties"](validator, allowed, instance, schema)


def _whole_keys(patterns: Mapping[str, Any]) -> dict[str, Any]:
    return {whole_value_pattern(pattern): value for pattern, value in patterns.items()}


_STANDARD: Mapping[str, Any] = Draft202012Validator.VALIDATORS
_OVERRIDES = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
}
_Validator: Any = extend(Draft202012Validator, _OVERRIDES)  # type: ignore[no-untyped-call]


def validator(schema: Mapping[str, Any]) -> Draft202012Validator:
    """Return a validator for `schema`, with the patterns of this module and the formats of `string_formats`."""
    # With an empty registry an external `$ref` is an error, never a download.
    made: Draft202012Validator = _Validator(_without_dialect(schema), registry=Registry(), format_checker=CHECKER)
    return made
