"""Text for people: plural forms, and characters that a terminal or a log must not interpret."""

from __future__ import annotations


def plural(count: int, noun: str, plural_noun: str | None = None) -> str:
    """Return `count` with its noun: `1 node`, `3 nodes`; `plural_noun` is for irregular words."""
    return f"{count} {noun if count == 1 else plural_noun or noun + 's'}"


def escape_controls(text: str) -> str:
    r"""Return `text` as one line of printable characters; all others are written as `\x1b`, `\n` or `\u2028`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
