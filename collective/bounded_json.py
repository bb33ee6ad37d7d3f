"""Parse JSON from the network: strict, and bounded in depth and in the number of values.

Rejected: duplicate keys, NaN and Infinity, numbers beyond a float's range, unpaired surrogates. The number of values
is bounded because three bytes (`[],`) become sixty in memory, and a small compressed message can hold very many.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, NoReturn

from collective.errors import MessageError

MAX_DEPTH = 128  # levels of nesting; a filter of 50 levels needs two for each
MAX_VALUES = 500_000  # 50,000 rows of ten columns, or 500,000 targets

_SHOWN = 100  # characters of a key that an error quotes
_STRING = re.compile('"[^"]*"')


def parse(text: str, what: str) -> Any:
    """Return the value of a JSON document; raise MessageError, beginning with `what`, if it is not strict JSON."""
    if _values(text) > MAX_VALUES:
        raise MessageError(f"{what}: more than {MAX_VALUES} values")
    try:
        value = strict(text)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"{what}: not JSON: {error or 'nested too deeply'}") from None
    if text.count("{") + text.count("[") > MAX_DEPTH and _deeper(value, MAX_DEPTH):
        raise MessageError(f"{what}: nested more than {MAX_DEPTH} levels deep")
    if "\\ud" in text or "\\uD" in text:
        _reject_surrogates(value, what)
    return value


def strict(text: str) -> Any:
    """Return the value of a JSON document of any size; raise ValueError for what `parse` rejects, but surrogates."""
    return json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_reject_constant, parse_float=_finite)


def _values(text: str) -> int:
    """Return an upper bound of the number of values; strings are only removed when the quick count is too high."""
    if (values := _count_separators(text)) <= MAX_VALUES:
        return values
    return _count_separators(_STRING.sub("", text.replace("\\\\", "").replace('\\"', "")))


def _count_separators(text: str) -> int:
    return text.count(",") + text.count("[") + text.count("{")


def _deeper(value: Any, levels: int) -> bool:
    """Return whether `value` is nested more than `levels` levels deep."""
    if not isinstance(value, (dict, list)):
        return False
    members = value.values() if isinstance(value, dict) else value
    return not levels or any(_deeper(member, levels - 1) for member in members)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        repeated = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"duplicate key {repeated[:_SHOWN]!r}")
    return members


def _reject_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"number {text} is too large")
    return number


def _reject_surrogates(value: Any, what: str) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise MessageError(f"{what}: unpaired surrogate in a string") from None
