"""Cut what callers send to a bounded size before it is written to the audit log.

A value that is too large is replaced by its length and digest, so that it can still be compared with a known value:

    {"stdin": {"$cut": {"length": 1048576, "sha256": "9f86d0…"}}}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

CUT = "$cut"
MAX_VALUE = 1024  # characters of one input as ASCII JSON, and of one query
MAX_DATA = 8 * 1024  # characters of all inputs of a request as ASCII JSON, names included
MAX_LINE = 32 * 1024  # characters of a decision that follow from the above and from the lengths of names
MAX_ASKS = 8 * 1024  # characters of all data functions in a filter


def cut_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return inputs with large values cut; inputs beyond MAX_DATA are cut to one entry named CUT."""
    kept: dict[str, Any] = {}
    size = 0
    for name, value in data.items():
        entry = _cut(value)
        size += len(json.dumps({name: entry}))
        if size > MAX_DATA:
            kept[CUT] = _summary(json.dumps(data))
            break
        kept[name] = entry
    return kept


def cut_asks(asks: Sequence[tuple[str, str]]) -> list[tuple[str, Any]]:
    """Return (data function, query) pairs with large queries cut; those beyond MAX_ASKS are cut to one entry."""
    kept: list[tuple[str, Any]] = []
    size = 0
    for function, query in asks:
        entry = (str(_cut(function)) if len(function) > MAX_VALUE else function, _cut(query))
        size += len(json.dumps(entry))
        if size > MAX_ASKS:
            kept.append((CUT, _summary(json.dumps(asks))))
            break
        kept.append(entry)
    return kept


def is_cut(value: Any) -> bool:
    """Return whether `value`, as read from an audit log, was cut."""
    return isinstance(value, Mapping) and value.keys() == {CUT}


def _cut(value: Any) -> Any:
    text = json.dumps(value)
    return value if len(text) <= MAX_VALUE else {CUT: _summary(text)}


def _summary(text: str) -> dict[str, Any]:
    return {"length": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}
