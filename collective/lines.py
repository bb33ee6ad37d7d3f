"""Split text files into lines as the programs of the system do: a line ends with a line feed, and nowhere else.

`str.splitlines` also ends lines at U+2028, U+0085, form feeds and others. With it, the comment of a line in
`allowed_signers` could hold a further line that OpenSSH does not see.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_LINE_FEED = "\n"
_ALLOWED_CONTROLS = "\t"
_BYTE_ORDER_MARK = "\ufeff"
_CONTROLS = ("Cc", "Zl", "Zp")  # Unicode's categories of control characters, and of line and paragraph separators


def numbered(text: str) -> Iterator[tuple[int, str]]:
    """Yield the number, from 1, and the text of each line, without its line feed or CR LF."""
    lines = text.split(_LINE_FEED)
    if not lines[-1]:
        lines.pop()
    for number, line in enumerate(lines, start=1):
        yield number, line.removesuffix("\r")


def problem(line: str) -> str | None:
    """Return the error text for a line with a control character other than a tab, or a separator of lines; else None.

    A byte order mark at its beginning is an error too: editors do not show it, and the first word is another one.

    A program in C ends the line at a NUL, a terminal at a CR, Python at U+2028, so it is not clear where it ends.
    """
    import unicodedata  # only here: completion reads no lines

    if line.startswith(_BYTE_ORDER_MARK):
        return "byte order mark U+FEFF (save the file as UTF-8 without it)"
    for column, character in enumerate(line, start=1):
        if unicodedata.category(character) in _CONTROLS and character not in _ALLOWED_CONTROLS:
            return f"control character U+{ord(character):04X} at column {column} (delete it)"
    return None


def words(line: str, splits: int = 0) -> list[str]:
    """Return the words of a line, which only spaces and tabs separate; after `splits` words the rest is one word."""
    return re.split(r"[ \t]+", line.strip(" \t\r\n"), maxsplit=splits)


def problems(text: str, where: str) -> list[str]:
    """Return an error line for each line of `text` that has a problem; `where` is the name of the file."""
    return [f"{where}:{number}: {found}" for number, line in numbered(text) if (found := problem(line))]
