"""Convert the text of an input to a value of the types that its schema allows.

    convert(text, types, accepts) ─► the first value that the schema accepts, of the types in this order:
                                     null, boolean, integer, number, array, object, string

An input that may be a string or something else takes JSON as JSON, and any other text as the string. A string that is
JSON is put in double quotes: `"5"`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from collective.bounded_json import strict
from collective.schema_types import Types

_TRUE = ("true", "yes", "y", "t", "1")
_FALSE = ("false", "no", "n", "f", "0")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")

EXPECTED = {
    "null": "null",
    "boolean": "a boolean (true or false, yes or no, 1 or 0)",
    "integer": "an integer",
    "number": "a number",
    "array": "a JSON array",
    "object": "a JSON object",
    "string": "a string",
}


def convert(text: str, types: Types, accepts: Callable[[Any], bool]) -> Any:
    """Return the value of `text`; raise ValueError if it has none of the types.

    If the schema accepts none of the possible values, the first one is returned, for the schema to name the error.
    """
    possible = []
    for kind, read in _READERS.items():
        if kind not in types:
            continue
        try:
            value = read(text, types)
        except (ValueError, RecursionError):
            if text.lstrip().startswith(_BRACKETS.get(kind, "\0")):
                raise ValueError(text) from None  # damaged JSON is not meant as a string
            continue
        if accepts(value):
            return value
        possible.append(value)
    if not possible:
        raise ValueError(text)
    return possible[0]


def _null(text: str, _types: Types) -> None:
    if text.strip() != "null":
        raise ValueError(text)


def _boolean(text: str, types: Types) -> bool:
    """Return a boolean; words that could be another type are not booleans: `1` an integer, `yes` a string."""
    last = 1 if "string" in types else -1 if types & {"integer", "number"} else None
    word = text.strip().lower()  # the text of a file ends with a newline
    if word in _TRUE[:last]:
        return True
    if word in _FALSE[:last]:
        return False
    raise ValueError(text)


def _integer(text: str, _types: Types) -> int:
    if not _INTEGER.fullmatch(text.strip()):
        raise ValueError(text)
    return int(text)


def _number(text: str, types: Types) -> int | float:
    if not _NUMBER.fullmatch(text.strip()):
        raise ValueError(text)
    if not any(char in text for char in ".eE"):
        return _integer(text, types)
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _array(text: str, _types: Types) -> Any:
    return _json(text, list)


def _object(text: str, _types: Types) -> Any:
    return _json(text, dict)


def _string(text: str, types: Types) -> str:
    if len(types) > 1 and len(text) > 1 and text[0] == text[-1] == '"':
        return str(_json(text, str))
    return text


def _json(text: str, kind: type) -> Any:
    value = strict(text)
    if not isinstance(value, kind):
        raise ValueError(text)
    return value


_READERS: Mapping[str, Callable[[str, Types], Any]] = {
    "null": _null,
    "boolean": _boolean,
    "integer": _integer,
    "number": _number,
    "array": _array,
    "object": _object,
    "string": _string,
}
_BRACKETS = {"array": "[", "object": "{"}
