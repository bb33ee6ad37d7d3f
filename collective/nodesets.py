"""Fold node names into ranges and unfold them: `web[01-03].my.net` is web01.my.net … web03.my.net.

    set   = group { "," group }
    group = { text | "[" range { "," range } "]" }      text: letters, digits, '_', '.', '-'
    range = number | number "-" number                  leading zeros in the first number set the width

ClusterShell's NodeSet is not used: `web[1-999999999]` makes it allocate all memory, `@all` reads configuration files,
`&`, `!`, `^`, `*` and spaces are operators, and it adds 1.5 MB under the LGPL.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from itertools import product
from typing import NoReturn

from collective.errors import UsageError
from collective.names import check_identity
from collective.text import escape_controls

MAX_NAMES = 100_000  # that one expression may unfold to

_PIECE = re.compile(r"[A-Za-z0-9_.-]+|\[[^][]*\]")
_RANGE = re.compile(r"([0-9]+)(?:-([0-9]+))?")
_NUMBERS = re.compile(r"([0-9]+)")

_Parts = tuple[tuple[str, ...], ...]  # a folded name: the values of each number


def fold_any(names: Iterable[str]) -> str:
    """Return `names` folded; invalid identities, which a forged message may contain, follow escaped and unfolded."""
    valid, invalid = [], []
    for name in names:
        try:
            valid.append(check_identity(name))
        except UsageError:
            invalid.append(escape_controls(name))
    return ",".join([*([fold(valid)] if valid else []), *invalid])


def fold(names: Iterable[str]) -> str:
    """Return `names` folded and in natural order; raise UsageError for a name that is not a valid identity."""
    groups: dict[tuple[str, ...], list[_Parts]] = {}
    for name in sorted(set(names), key=_natural):
        pieces = _NUMBERS.split(check_identity(name))
        groups.setdefault(tuple(pieces[::2]), []).append(tuple((number,) for number in pieces[1::2]))
    return ",".join(_written(texts, parts) for texts, found in groups.items() for parts in _merged(found))


def unfold(text: str) -> list[str]:
    """Return the names in `text`, in its order and without duplicates; raise UsageError naming the column."""
    found: dict[str, None] = {}
    at = 0
    while True:
        pieces = []
        while piece := _PIECE.match(text, at):
            pieces.append(_values(text, piece))
            at = piece.end()
            if len(found) + math.prod(len(values) for values in pieces) > MAX_NAMES:
                _fail(text, piece.start(), f"more than {MAX_NAMES} names")
        if at < len(text) and text[at] != ",":
            _fail(text, at, _unexpected(text[at]))
        if not pieces:
            _fail(text, at, "missing name")
        found.update(dict.fromkeys(check_identity("".join(name)) for name in product(*pieces)))
        if at == len(text):
            return list(found)
        at += 1


def _values(text: str, piece: re.Match[str]) -> list[str]:
    if not piece[0].startswith("["):
        return [piece[0]]
    values: list[str] = []
    at = piece.start() + 1
    for part in piece[0][1:-1].split(","):
        values += _range(text, at, part, MAX_NAMES - len(values))
        at += len(part) + 1
    return values


def _range(text: str, at: int, part: str, most: int) -> list[str]:
    """Return the numbers of one range as strings of the written width."""
    bounds = _RANGE.fullmatch(part)
    if bounds is None or len(part) > 255:
        _fail(text, at, f"invalid range {part[:20]!r}: use 1, 1-20 or 01-20")
    first, last = bounds[1], bounds[2] or bounds[1]
    if (_padded(first) or _padded(last)) and len(first) != len(last):
        _fail(text, at, f"invalid range {part!r}: both ends must have the same number of digits")
    start, end = int(first), int(last)
    if start > end:
        _fail(text, at, f"invalid range {part!r}: the end is before the start")
    if end - start >= most:
        _fail(text, at, f"range {part!r} has more than {MAX_NAMES} names")
    return [str(number).zfill(len(first)) for number in range(start, end + 1)]


def _padded(number: str) -> bool:
    return len(number) > 1 and number[0] == "0"


def _unexpected(char: str) -> str:
    if char == "[":
        return "'[' is not closed"
    return f"invalid character {char!r}: use letters, digits, '_', '.', '-' and ranges such as web[01-20]"


def _fail(text: str, position: int, message: str) -> NoReturn:
    shown = text if len(text) <= 200 else text[:200] + "…"
    raise UsageError(f"{shown!r}: column {position + 1}: {message}")


# -- folding


def _natural(name: str) -> list[tuple[int, int, str]]:
    pieces = _NUMBERS.split(name)
    return [(len(piece), int(piece), "") if at % 2 else (0, 0, piece) for at, piece in enumerate(pieces)]


def _merged(found: list[_Parts]) -> list[_Parts]:
    """Merge names that differ in one number only."""
    width = len(found[0])
    for place in reversed(range(width)):
        groups: dict[_Parts, list[str]] = {}
        for parts in found:
            groups.setdefault(parts[:place] + parts[place + 1 :], []).extend(parts[place])
        found = [(*others[:place], tuple(values), *others[place:]) for others, values in groups.items()]
    return found


def _written(texts: tuple[str, ...], parts: _Parts) -> str:
    numbers = [_ranges(values) for values in parts]
    return texts[0] + "".join(number + text for number, text in zip(numbers, texts[1:], strict=True))


def _ranges(values: tuple[str, ...]) -> str:
    if len(values) == 1:
        return values[0]
    runs: list[list[str]] = []
    for value in values:
        if runs and _follows(value, runs[-1]):
            runs[-1].append(value)
        else:
            runs.append([value])
    return "[" + ",".join(run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs) + "]"


def _follows(value: str, run: list[str]) -> bool:
    if _padded(run[0]) and len(value) != len(run[0]):
        return False
    return value == str(int(run[-1]) + 1).zfill(len(run[0]))
