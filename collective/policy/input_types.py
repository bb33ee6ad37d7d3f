"""The keywords of a rule's schema that have no effect on the inputs of an action, because these are of another type.

JSON Schema ignores them: `pattern` restricts no integer, and `not: {const: '22'}` accepts the integer 22. A rule with
such a keyword would allow what its author meant to refuse.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from collective.policy.input_names import InputTypes, in_place
from collective.schema_keywords import types_of_keyword
from collective.schema_types import Types, type_of, types


def input_types(schema: Mapping[str, Any]) -> InputTypes:
    """Return the types of each input in the input schema of an action; None: any type."""
    properties = schema.get("properties") or {}
    return {name: types(described, schema) for name, described in properties.items()}


def without_effect(schema: Mapping[str, Any], inputs: InputTypes) -> Iterator[tuple[str, str]]:
    """Yield the name of each input whose type a keyword of `schema` is not about, and the problem."""
    for part in in_place(schema):
        for name, described in part.get("properties", {}).items():
            kinds = inputs.get(name)
            if kinds:
                for problem in _problems(schema, described, kinds):
                    yield name, problem


def _problems(root: Mapping[str, Any], described: Any, kinds: Types) -> Iterator[str]:
    wanted = _with_numbers(kinds)
    for part in in_place(root, described):
        if part is not described and "type" in part:  # a branch for values of one type
            continue
        for keyword, value in part.items():
            about = _about(keyword, value)
            needed = about if keyword in ("enum", "const") else about & wanted
            if about and not (needed and needed <= wanted):
                yield f"'{keyword}' has no effect on values of type {' or '.join(sorted(kinds))}"


def _about(keyword: str, value: Any) -> frozenset[str]:
    """Return the types that a keyword is about; empty if it is about any."""
    if keyword == "type":
        return _with_numbers(frozenset([value] if isinstance(value, str) else value))
    if keyword in ("enum", "const"):
        return _with_numbers(frozenset(map(type_of, value if keyword == "enum" else [value])))
    return types_of_keyword(keyword)


def _with_numbers(kinds: Types) -> Types:
    """Return types with `number` in place of `integer`: keywords do not tell them apart."""
    return frozenset("number" if kind == "integer" else kind for kind in kinds)
