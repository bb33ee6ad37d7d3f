"""Order values for `<` `<=` `>` `>=`, the same way on callers and nodes.

* JSON numbers are ordered as numbers. The other side must be one too: digits with an optional sign, fraction, exponent
  (`3e9`) or unit. With anything else, the comparison is false.
* Strings are ordered as numbers if both are numbers and one has a sign, an exponent, a unit or no digit before the
  dot: `8GB` < `8GiB`, `.5` < `0.6`.
* Other strings are in version order: runs of digits are compared as integers, the rest character by character, letters
  before other characters. `5.9` < `5.10`, `2024a` < `2024b`, `web9` < `web10`. As in Debian's versions, `~` sorts
  before the end of a string, and everything else after it: `1.0~rc1` < `1.0` < `1.0-rc1`. `.0` at the end or before
  `~` is ignored.
* Units are those of GNU coreutils: K M G T P E and KiB MiB … are powers of 1024, kB or KB, MB … of 1000, B is 1.
* Booleans have no order.
"""

from __future__ import annotations

import operator as operators
import re
from collections.abc import Callable, Mapping
from decimal import Context, Decimal
from functools import lru_cache
from typing import Any

ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operators.lt,
    "<=": operators.le,
    ">": operators.gt,
    ">=": operators.ge,
}

_PREFIXES = "KMGTPE"
_UNITS: Mapping[str, int] = {
    "B": 1,
    "kB": 1000,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate(_PREFIXES, start=1)},
    **{f"{prefix}{end}": 1024**power for power, prefix in enumerate(_PREFIXES, start=1) for end in ("", "i", "iB")},
}
_BY_LOWER = {unit.lower(): unit for unit in _UNITS if unit not in ("B", "E")}  # 9e and 2024b are versions
_NUMBER = re.compile(
    r"([+-]?)([0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE]([+-]?[0-9]{1,3})|[ ]?([kKMGTPE]?(?:i?B|i)|[KMGTPE]))?"
)
_MISSPELT = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?[ ]?([A-Za-z]{1,3})")
_ZEROS = re.compile(r"(?<=[0-9])(?:\.0+)+(?=~|\Z)")
_RUNS = re.compile(r"([^0-9]*)([0-9]*)")
_END, _BEFORE_END, _AFTER_LETTERS = 0, -1, 0x110000

Key = tuple["tuple[tuple[int, ...], tuple[int, str]]", ...]  # of each run: its characters, its digits


def ordered(element: Any, operator: str, value: str) -> bool:
    """Return whether `element operator value` holds for a JSON value that is neither a list nor a mapping nor null."""
    if isinstance(element, str):
        left, right = string_key(element, value), string_key(value, element)
        return ORDER[operator](left, right)
    found, wanted = number(element), number(value)
    return found is not None and wanted is not None and ORDER[operator](found, wanted)


def string_key(text: str, other: str) -> Decimal | Key:
    """Return a key that orders `text` against the key of `other`: both are numbers, or both are version keys."""
    exact = number(text)
    if exact is not None and number(other) is not None and (_is_special(text) or _is_special(other)):
        return exact
    return version_key(text)


def number(value: Any) -> Decimal | None:
    """Return a number, or a string with one, as an exact Decimal, units applied; None for anything else."""
    if isinstance(value, str):
        return _number(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    exact = Decimal(value) if isinstance(value, int) else Decimal(repr(value))
    return exact if exact.is_finite() else None


@lru_cache(maxsize=1024)
def _number(text: str) -> Decimal | None:
    found = _NUMBER.fullmatch(text)
    if found is None or (found[4] and found[4] not in _UNITS):
        return None
    exact = Decimal(f"{found[1]}{found[2]}e{found[3] or 0}")
    # Without a context of its own, the product would be rounded to 28 digits.
    return Context(prec=len(text) + 30).multiply(exact, _UNITS[found[4]]) if found[4] else exact


def misspelt_unit(text: str) -> str | None:
    """Return the unit that `text` has in the wrong case, as in `8gb`, or None."""
    found = _MISSPELT.fullmatch(text)
    if found is None or found[1] in _UNITS or found[1].lower() not in _BY_LOWER:
        return None
    return _BY_LOWER[found[1].lower()]


def version_key(text: str) -> Key:
    """Return the key of a string in version order."""
    runs = _RUNS.findall(_ZEROS.sub("", text))
    return tuple(((*map(_weight, words), _END), _digits(digits)) for words, digits in runs)


def _digits(digits: str) -> tuple[int, str]:
    """Return a key that orders runs of digits like integers, which Python does not read beyond 4,300 digits."""
    significant = digits.lstrip("0")
    return (len(significant) if digits else -1, significant)


def _weight(character: str) -> int:
    if character == "~":
        return _BEFORE_END
    return ord(character) if character.isalpha() else ord(character) + _AFTER_LETTERS


def _is_special(text: str) -> bool:
    """Return whether a number is more than digits with a fraction, which may be a version: 5.10."""
    found = _NUMBER.fullmatch(text)
    return found is not None and bool(found[1] or found[3] or found[4] or text[0] == ".")
