"""JSON Schema as DDLs and policies use it: 2020-12, no external references, `$` at the very end of a value only.

check_schema   checks a schema itself (when a file is read); `problems` returns all its problems
validator      returns what checks values ─► first_error

Values come from the network, so checks have a time limit (time_limit.py): each keyword looks at the clock, and no
keyword takes long by itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from jsonschema.exceptions import SchemaError, best_match
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from collective import schema_keywords
from collective.errors import DDLError
from collective.quick_check import whole_value_pattern
from collective.schema_keywords import Problem
from collective.string_formats import FORMATS
from collective.suggestions import suggest
from collective.text import noun_form
from collective.time_limit import CHECK_SECONDS, check_expression, check_time, limited, search
from collective.usual_mismatch import pattern_text

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")
_SHOWN = 100  # characters of a value that an error quotes

_Error = TypeVar("_Error", ValidationError, SchemaError)

_FORMATS = FormatChecker(formats=())
_CHECKER = FormatChecker(formats=())  # of the formats in values


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
        Draft202012Validator.check_schema(schema, format_checker=_FORMATS)
    except SchemaError as error:
        path = tuple(error.absolute_path)
        if error.validator == "format":  # of the meta-schema, only `pattern` has one that is checked
            reason = str(error.cause).removeprefix(
                f"invalid regular expression {whole_value_pattern(error.instance)!r}: "
            )
            return Problem(path, f"'{error.instance}' is not a regular expression: {reason}")
        if error.validator == "anyOf" and path[-1:] == ("type",):
            hint = suggest(str(error.instance), _TYPES, f"types: {', '.join(_TYPES)}")
            return Problem(path, f"unknown type {error.instance!r} ({hint})")
        return Problem(path, in_json(error).message)
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


def _for_strings(check: Callable[[str], bool]) -> Callable[[Any], bool]:
    return lambda value: not isinstance(value, str) or check(value)


for _name, _check in FORMATS.items():
    _CHECKER.checks(_name)(_for_strings(_check))


@_FORMATS.checks("regex", raises=ValueError)
def _is_expression(value: object) -> bool:
    return not isinstance(value, str) or check_expression(whole_value_pattern(value))


def _without_dialect(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the root's `$schema`: where a `$ref` leads to it, jsonschema would change to the dialect's own validator."""
    return {keyword: value for keyword, value in schema.items() if keyword != "$schema"}


def first_error(validator: Validator, data: Any, seconds: float = CHECK_SECONDS) -> ValidationError | None:
    """Return the most relevant error in `data`, or None. Raise CheckTimeout if the check takes more than `seconds`."""
    try:
        with limited(seconds):
            error: ValidationError | None = best_match(validator.iter_errors(data))
    except RecursionError:
        return ValidationError("is nested too deeply, or a $ref of the DDL refers to itself")
    except ArithmeticError:  # `multipleOf` of a number beyond a float's range
        return ValidationError("contains a number that is too large")
    return error and in_json(error)


def in_json(error: _Error) -> _Error:
    """Show a value as JSON and YAML have it (`null`, `true`), not as Python does."""
    shown = repr(error.instance)
    if (error.instance is None or isinstance(error.instance, bool)) and error.message.startswith(shown):
        error.message = json.dumps(error.instance) + error.message[len(shown) :]
    return error


# -- patterns: in ECMA-262 `$` matches only at the very end, in Python also before a trailing newline


def _pattern(_validator: Any, pattern: str, instance: Any, _schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not search(whole_value_pattern(pattern), instance):
        yield ValidationError(pattern_text(pattern, instance))


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], instance: Any, _schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    for pattern, schema in patterns.items():
        for name, value in instance.items():
            if search(whole_value_pattern(pattern), name):
                yield from validator.descend(value, schema, path=name, schema_path=pattern)


def _additional_properties(
    validator: Any, allowed: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    patterns = [whole_value_pattern(pattern) for pattern in schema.get("patternProperties", ())]
    named = schema.get("properties", {})
    extras = [name for name in instance if name not in named and not any(search(pattern, name) for pattern in patterns)]
    if isinstance(allowed, dict):
        for name in extras:
            yield from validator.descend(instance[name], allowed, path=name)
    elif not allowed and extras:
        shown = ", ".join(repr(name[:_SHOWN]) for name in sorted(extras)[:3])
        more = f" and {len(extras) - 3} more" if len(extras) > 3 else ""
        hint = suggest(sorted(extras)[0], named)
        yield ValidationError(f"unknown {noun_form(len(extras), 'key')} {shown}{more}" + (f" ({hint})" if hint else ""))


def _unique_items(_validator: Any, unique: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    """Check in linear time; jsonschema compares each pair of items that cannot be sorted."""
    if not unique or not isinstance(instance, list):
        return
    seen = set()
    for item in instance:
        check_time()
        key = _comparable(item)
        if key in seen:
            shown = repr(item)
            yield ValidationError(f"{shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '…'} occurs more than once")
            return
        seen.add(key)


def _comparable(value: Any) -> Any:
    """Return what is equal, and has the same hash, for equal JSON values only: 1 and 1.0 are equal, 1 and true not."""
    if isinstance(value, list):
        return tuple(_comparable(item) for item in value)
    if isinstance(value, dict):
        return frozenset((name, _comparable(item)) for name, item in value.items())
    return (value, isinstance(value, bool))


_Keyword = Callable[[Any, Any, Any, Any], "Iterable[ValidationError] | None"]


_OVERRIDES: Mapping[str, _Keyword] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
}


def _timed(keyword: _Keyword) -> _Keyword:
    """Return a keyword that looks at the clock before it checks a value."""

    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterable[ValidationError] | None:
        check_time()
        return keyword(validator, value, instance, schema)

    return check


_KEYWORDS: Mapping[str, _Keyword] = {**Draft202012Validator.VALIDATORS, **_OVERRIDES}
_Validator: Any = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, {name: _timed(keyword) for name, keyword in _KEYWORDS.items()}
)


def validator(schema: Mapping[str, Any]) -> Draft202012Validator:
    """Return a validator for `schema`, with the patterns of this module and the formats of `string_formats`."""
    # With an empty registry an external `$ref` is an error, never a download.
    made: Draft202012Validator = _Validator(_without_dialect(schema), registry=Registry(), format_checker=_CHECKER)
    return made
