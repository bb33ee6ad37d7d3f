"""Columns of a terminal: wide characters take two, combining ones none.

    width("日本")          4
    cut("long text", 6)    'long …'
    pad("日本", 6)         '日本  '
    wrap(text, 20)         lines of at most 20 columns

The functions take escaped text without colours. `wcwidth` is imported for text that is not ASCII.
"""

from __future__ import annotations

_ELLIPSIS = "…"


def width(text: str) -> int:
    """Return the number of columns of a text of one line."""
    if text.isascii():
        return len(text)
    import wcwidth

    return int(wcwidth.width(text))


def pad(text: str, columns: int, *, right: bool = False) -> str:
    """Return `text` filled up with spaces to `columns`; `right`: the spaces come first."""
    spaces = " " * (columns - width(text))
    return spaces + text if right else text + spaces


def cut(text: str, columns: int) -> str:
    """Return `text`, shortened with … if it is wider than `columns`."""
    if width(text) <= columns:
        return text
    return head(text, columns - 1) + _ELLIPSIS if columns > 0 else ""


def head(text: str, columns: int) -> str:
    """Return the beginning of `text` that fits into `columns`."""
    if text[: columns + 1].isascii():
        return text[:columns]
    import wcwidth

    found = []
    for part in wcwidth.iter_graphemes(text):
        columns -= width(part)
        if columns < 0:
            break
        found.append(part)
    return "".join(found)


def wrap(line: str, columns: int) -> list[str]:
    """Return a line as lines of at most `columns`, broken at the last space of each, or anywhere without one."""
    lines = []
    while width(line) > columns:
        first = head(line, columns) or line[0]
        at = first.rfind(" ")
        if line[len(first)] != " " and at > len(first) // 2:
            first = first[: at + 1]
        lines.append(first.rstrip(" "))
        line = line[len(first) :].removeprefix(" ")
    return [*lines, line]


def wrap_names(names: str, columns: int, most: int | None = None) -> list[str]:
    """Return folded names as lines of at most `columns`, broken after commas; the last of `most` lines is cut.

    What follows the names, such as ` (12)`, is kept.
    """
    names, space, count = names.partition(" ")
    lines, line = [], ""
    for piece in names.split(","):
        if line and width(line) + width(piece) + 1 > columns:
            lines.append(line)
            line = ""
        line += f"{piece},"
    lines.append(line.removesuffix(","))
    if most is not None and len(lines) > most:
        lines = [*lines[: most - 1], cut(f"{lines[most - 1]}{_ELLIPSIS * columns}", columns - len(space + count))]
    if width(lines[-1]) + len(space + count) > columns:
        lines[-1] = cut(lines[-1], columns - len(space + count)) if most is not None else lines[-1]
    lines[-1] += space + count
    return lines
