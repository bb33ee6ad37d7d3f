"""Text for people: plural forms, and characters that a terminal or a log must not interpret."""

from __future__ import annotations

import re
from functools import cache

# Printable for Python, but invisible: fillers, joiners and variation selectors, with which different strings look the
# same. They are the printable part of Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties.txt).
_INVISIBLE = "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef"
# Controls (C0 without tab and newline, DEL, C1), invisible and bidirectional marks (category Cf), line and paragraph
# separators, and halves of surrogate pairs, which cannot be encoded.
_HARMFUL = (
    f"\x00-\x08\x0b-\x1f\x7f-\x9f{_INVISIBLE}"
    "\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    "\ud800-\udfff"
)
# Joiners and selectors between emoji make one picture of them, and hide nothing.
_SYMBOL = "[\u2190-\u2bff\U0001f000-\U0001faff]\ufe0f?"
_EMOJI = f"{_SYMBOL}(?:\u200d{_SYMBOL})*"
_HARMFUL_IN_LINES = f"{_EMOJI}|([{_HARMFUL}])"
_HARMFUL_ASCII = "([\x00-\x08\x0b-\x1f\x7f])"  # the same for ASCII, and ten times faster
_HIDDEN = f"[{_INVISIBLE}]"
_SPECIAL = f"{_EMOJI}|([^ -~])"  # all but printable ASCII, which needs no look


def plural(count: int, noun: str, plural_noun: str | None = None) -> str:
    """Return `count` with its noun: `1 node`, `3 nodes`; `plural_noun` is for irregular words."""
    return f"{count} {noun_form(count, noun, plural_noun)}"


def signed(number: float, digits: int = 1) -> str:
    """Return a number with its sign; zero is never negative: `+0.0`, `-1.5`."""
    return f"{round(number, digits) + 0.0:+.{digits}f}"


def noun_form(count: float, noun: str, plural_noun: str | None = None) -> str:
    """Return the form of a noun that belongs to `count`, for a number that is formatted in another way."""
    return noun if count == 1 else plural_noun or noun + "s"


def escape_controls(text: str) -> str:
    r"""Return `text` as one line of visible characters; all others are written as `\x1b`, `\n` or `\u200e`."""
    if text.isprintable() and (text.isascii() or not _compiled(_HIDDEN).search(text)):
        return text
    return _compiled(_SPECIAL).sub(_visible, text)


def escape_lines(text: str) -> str:
    r"""Return a text of several lines without what a terminal interprets or hides (`\x1b`, `\u202e`).

    Newlines and tabs stay; a carriage return before a newline is removed.
    """
    text = text.replace("\r\n", "\n")
    return _compiled(_HARMFUL_ASCII if text.isascii() else _HARMFUL_IN_LINES).sub(_escaped, text)


def _visible(match: re.Match[str]) -> str:
    char = match[1]
    return match[0] if char is None or (char.isprintable() and not _compiled(_HIDDEN).match(char)) else _escaped(match)


def _escaped(match: re.Match[str]) -> str:
    return match[0] if match[1] is None else match[0].encode("unicode_escape").decode("ascii")


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Return a compiled pattern: on use, because compiling all of them takes a tenth of a fork server's start."""
    return re.compile(pattern)
