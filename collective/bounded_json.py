"""JSON as messages carry it: plain, and of a size that can be looked at, whoever has written it.

No key twice, no NaN, no number beyond a float's range, no half of a surrogate pair; bounded depth, and boundedly many
values: three bytes of `[],` become sixty of memory, and what few bytes were compressed to, very many `[],`.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from collective.errors import MessageError

DEEPEST = 128  # levels of nesting: a filter's 50 take two each; what is deeper is no data that anybody reads
MOST_VALUES = 500_000  # a table of 50,000 lines and ten columns, or 500,000 targets

_TEXT = re.compile('"[^"]*"')


def parse(text: str, what: str) -> Any:
    """Return the value that a JSON text holds; raise MessageError, naming `what` it is, for what is not plain."""
    if _values(text) > MOST_VALUES:
        raise MessageError(f"{what}: more than {MOST_VALUES} values")
    try:
        value = json.loads(text, object_pairs_hook=_no_repeats, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"{what}: not JSON: {error or 'nested too deeply'}") from None
    if text.count("{") + text.count("[") > DEEPEST and _deeper(value, DEEPEST):
        raise MessageError(f"{what}: nested more than {DEEPEST} levels deep")
    if "\\ud" in text or "\\uD" in text:
        _refuse_surrogates(value, what)
    return value


def _values(text: str) -> int:
    """Return how many values a JSON text holds, or a few more; its texts are looked at only where it matters."""
    if (values := _marks(text)) <= MOST_VALUES:
        return values
    return _marks(_TEXT.sub("", text.replace("\\\\", "").replace('\\"', "")))


def _marks(text: str) -> int:
    return text.count(",") + text.count("[") + text.count("{")


def _deeper(value: Any, levels: int) -> bool:
    """Tell whether `value` is nested in more than `levels` levels of objects and arrays."""
    if not isinstance(value, (dict, list)):
        return False
    members = value.values() if isinstance(value, dict) else value
    return not levels or any(_deeper(member, levels - 1) for member in members)


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a key is repeated")
    return members


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text} is too large a number")
    return number


def _refuse_surrogates(value: Any, what: str) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise MessageError(f"{what}: half of a surrogate pair is no text") from None
