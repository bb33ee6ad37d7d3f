"""Convert inputs and outputs in Choria's form into JSON Schema."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from collective.ddl_import.ruby import Symbol
from collective.errors import DDLError
from collective.json_schema import check_schema

_TYPES = {
    "string": "string",
    "list": "string",
    "boolean": "boolean",
    "integer": "integer",
    "float": "number",
    "number": "number",
    "numeric": "number",
    "array": "array",
    "hash": "object",
}
# MCollective's `shellsafe` refuses these characters; control characters are refused as well.
_SHELLSAFE = {"pattern": "^(?!.*&&)[^`$;|><\\x00-\\x1f]*$"}
_VALIDATORS: Mapping[str, Mapping[str, Any]] = {
    "shellsafe": _SHELLSAFE,
    "ipv4address": {"format": "ipv4"},
    "ipv6address": {"format": "ipv6"},
    "ipaddress": {"anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]},
    "string": {},
}
_NAMED = re.compile(r"[a-z]\w*")  # as in Choria: what begins with a letter is the name of a validator
_INPUT_KEYS = frozenset({"prompt", "description", "type", "optional", "validation", "maxlength", "default", "list"})
_OUTPUT_KEYS = frozenset({"display_as", "description", "type", "default"})

Lose = Callable[[str], None]


def input_schema(name: str, given: Mapping[str, Any], lose: Lose) -> dict[str, Any]:
    """Return the schema of an input; call `lose` with a line for each part that cannot be converted."""
    where = f"input '{name}'"
    schema = _start(where, given, "prompt", lose)
    _unknown(where, given, _INPUT_KEYS, lose)
    if str(given.get("type")) == "list":
        schema["enum"] = list(given.get("list", ()))
    if schema.get("type") == "string" and "enum" not in schema:
        schema |= _validation(where, given.get("validation"), lose)
        if isinstance(given.get("maxlength"), int) and given["maxlength"] > 0:
            schema["maxLength"] = given["maxlength"]
    if given.get("default") is not None:
        schema["default"] = given["default"]
    return _valid(where, schema, ("default", "pattern", "enum"), lose)


def output_schema(name: str, given: Mapping[str, Any], lose: Lose) -> dict[str, Any]:
    """Return the schema of an output; call `lose` with a line for each part that cannot be converted."""
    where = f"output '{name}'"
    schema = _start(where, given, "display_as", lose)
    _unknown(where, given, _OUTPUT_KEYS, lose)
    if given.get("default") is not None:
        schema["default"] = given["default"]
    return _valid(where, schema, ("default",), lose)


def _start(where: str, given: Mapping[str, Any], title: str, lose: Lose) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    if given.get(title):
        schema["title"] = str(given[title])
    if given.get("description"):
        schema["description"] = str(given["description"])
    kind = given.get("type")
    if kind is not None:
        known = _TYPES.get(str(kind).lower())
        if known is None:
            lose(f"{where}: unknown type '{kind}' (any value is accepted)")
        else:
            schema["type"] = known
    return schema


def _unknown(where: str, given: Mapping[str, Any], known: frozenset[str], lose: Lose) -> None:
    for key in given:
        if key not in known:
            lose(f"{where}: unknown key '{key}'")


def _validation(where: str, given: Any, lose: Lose) -> Mapping[str, Any]:
    if given is None or str(given) == ".*":
        return {}
    text = str(given)
    if isinstance(given, Symbol) or _NAMED.fullmatch(text):
        if text not in _VALIDATORS:
            lose(f"{where}: the validator '{text}' is a plug-in (add a 'pattern')")
        return _VALIDATORS.get(text, {})
    return {"pattern": text.replace("\\A", "^").replace("\\z", "$").replace("\\Z", "$").replace("\\h", "[0-9a-fA-F]")}


def _valid(where: str, schema: dict[str, Any], doubtful: tuple[str, ...], lose: Lose) -> dict[str, Any]:
    """Return the schema without those `doubtful` keywords that make it invalid."""
    for keyword in doubtful:
        if keyword not in schema or _problem(schema) is None:
            continue
        rest = {key: value for key, value in schema.items() if key != keyword}
        if _problem(rest) is None or _problem(rest) != _problem(schema):
            lose(f"{where}: '{keyword}' {schema[keyword]!r} cannot be used: {_problem(schema)}")
            schema = rest
    return schema


def _problem(schema: Mapping[str, Any]) -> str | None:
    try:
        check_schema({"type": "object", "properties": {"x": schema}}, "$")
    except DDLError as error:
        return str(error).rpartition(": ")[2]
    return None
