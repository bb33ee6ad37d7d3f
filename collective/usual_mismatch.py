"""Describe the usual mistake without importing jsonschema: one value, such as an input, fails one simple keyword.

    usual_mismatch(schema, value)   None: ask jsonschema, which describes everything else

The text is that of jsonschema. `quick_check.py` decides which keyword fails.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from collective.quick_check import certainly_valid

_SHOWN = 100  # characters of a value that an error quotes


@dataclass(frozen=True)
class UsualMismatch:
    """The members of a ValidationError, under its names: the place, the keyword and its value, what failed, the text.

    `absolute_path` is empty if the value itself failed, or has the name of its member. `context` is always empty.
    """

    absolute_path: tuple[str, ...]
    validator: str
    validator_value: Any
    instance: Any
    message: str
    context: tuple[()] = ()


def usual_mismatch(schema: Any, value: Any) -> UsualMismatch | None:
    """Return the only error in `value`, or in one member of an object; None if it is not certainly the only one."""
    if type(value) is not dict or type(schema) is not dict:
        return _of_value(schema, value)
    properties = schema.get("properties", {})
    for name in value:
        if name in properties and certainly_valid({**schema, "properties": {**properties, name: True}}, value):
            return _of_value(properties[name], value[name], name)
    return None


def pattern_text(pattern: str, value: str) -> str:
    """Return the text about a value that does not match a pattern."""
    shown = value if len(value) <= _SHOWN else value[:_SHOWN] + "…"
    return f"{shown!r} does not match {pattern!r}"


def _of_value(schema: Any, value: Any, *path: str) -> UsualMismatch | None:
    if type(schema) is not dict or type(value) not in (
        str,
        int,
    ):  # booleans, and numbers such as 1.0, are for jsonschema
        return None
    failed = [keyword for keyword, wanted in schema.items() if not certainly_valid({keyword: wanted}, value)]
    if len(failed) != 1 or failed[0] not in _TEXTS:
        return None
    keyword, wanted = failed[0], schema[failed[0]]
    if keyword == "enum" and value in wanted:  # 1, and the list has 1.0
        return None
    return UsualMismatch(path, keyword, wanted, value, _TEXTS[keyword](wanted, value))


_TEXTS: Mapping[str, Callable[[Any, Any], str]] = {
    "type": lambda wanted, value: (
        f"{value!r} is not of type {', '.join(map(repr, [wanted] if isinstance(wanted, str) else wanted))}"
    ),
    "enum": lambda wanted, value: f"{value!r} is not one of {wanted!r}",
    "minimum": lambda wanted, value: f"{value!r} is less than the minimum of {wanted!r}",
    "maximum": lambda wanted, value: f"{value!r} is greater than the maximum of {wanted!r}",
    "pattern": pattern_text,
}
