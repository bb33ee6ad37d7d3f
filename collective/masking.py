"""Keep secrets out of sight: which inputs and outputs are secret, and how their values are taken out of a text.

A DDL marks a secret `writeOnly`: an input or output, or anything within it, for then the whole of it is masked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

MASK = "********"


def is_secret(schema: Any, whole: Mapping[str, Any], met: frozenset[str] = frozenset()) -> bool:
    """Tell whether anything in `schema` is marked `writeOnly`; `whole` is where its `$ref`s lead, `met` those met."""
    if isinstance(schema, list):
        return any(is_secret(entry, whole, met) for entry in schema)
    if not isinstance(schema, Mapping):
        return False
    if schema.get("writeOnly") is True:
        return True
    parts = list(schema.values())
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference not in met:
        met |= {reference}
        parts.append(_target(reference, whole))
    return any(is_secret(part, whole, met) for part in parts)


def _target(reference: str, whole: Mapping[str, Any]) -> Any:
    """Return what a JSON pointer such as `#/$defs/key` leads to (RFC 6901); None when it leads nowhere."""
    found: Any = whole
    for step in reference.removeprefix("#").split("/")[1:]:
        found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return found


def texts(value: Any) -> Iterator[str]:
    """Yield the texts under which the parts of a secret `value` may appear in messages."""
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
    """Return `text` with every one of `secrets` replaced by asterisks."""
    for secret in sorted(set(secrets), key=len, reverse=True):  # a part of one must not spoil the whole of another
        text = text.replace(secret, MASK)
    return text
