"""Mask secrets: find secret inputs and outputs, and replace their values in messages.

A DDL marks a secret with `writeOnly`. If any part of an input or output is secret, all of it is masked.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from collective.schema_types import target

MASK = "********"


def is_secret(schema: Any, root: Mapping[str, Any], seen: frozenset[str] = frozenset()) -> bool:
    """Return whether any part of `schema` is `writeOnly`; its `$ref`s point into `root`, `seen` are those followed."""
    if isinstance(schema, list):
        return any(is_secret(entry, root, seen) for entry in schema)
    if not isinstance(schema, Mapping):
        return False
    if schema.get("writeOnly") is True:
        return True
    parts = list(schema.values())
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference not in seen:
        seen |= {reference}
        parts.append(target(reference, root))
    return any(is_secret(part, root, seen) for part in parts)


def texts(value: Any) -> Iterator[str]:
    """Yield the strings as which parts of a secret `value` may appear in messages."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from texts(part)
    elif isinstance(value, str) and value:
        yield from (value, repr(value)[1:-1], json.dumps(value)[1:-1])
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield json.dumps(value)


def hide(text: str, secrets: Iterable[str]) -> str:
    """Return `text` with each of `secrets` replaced by asterisks."""
    for secret in sorted(set(secrets), key=len, reverse=True):  # longest first: a secret may contain another
        text = text.replace(secret, MASK)
    return text


def hide_in(value: Any, secrets: Collection[str]) -> Any:
    """Return `value`, data as JSON has it, with each of `secrets` replaced in all its strings and keys."""
    if not secrets:
        return value
    if isinstance(value, Mapping):
        return {hide(str(key), secrets): hide_in(part, secrets) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [hide_in(part, secrets) for part in value]
    if isinstance(value, str):
        return hide(value, secrets)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return MASK if is_number and json.dumps(value) in secrets else value
