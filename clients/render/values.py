"""Values under their titles: aligned at the colons, wrapped to the terminal, and cut if they are long.

         Exit Code: 2
            Output: DISK CRITICAL - free space: / 24 MB (0% inode=86%);
                    … 12 more lines (use -v)

Outside of terminals, values are complete and not wrapped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from collective.clients.render.formatting import in_words
from collective.clients.render.groups import Varying
from collective.clients.render.width import pad, width, wrap
from collective.text import escape_lines, plural

INDENT = "   "
MAX_LINES = 20  # of one value on a terminal without -v
_NO_TERMINAL = 80  # columns beyond which JSON values are spread over lines
_LEAST_ROOM = 16  # columns; values with less room beside their titles begin on a line of their own


class ValueLayout:
    """Lays out values for a terminal of `columns` (None: no terminal); `cuts`: at most MAX_LINES of each."""

    def __init__(self, columns: int | None, cuts: bool) -> None:
        self._columns = columns
        self._cuts = cuts

    def titled(self, values: Iterable[tuple[str, Any]]) -> Iterator[str]:
        """Yield the lines of values with their titles, which are escaped."""
        pairs = list(values)
        column = len(INDENT) + max((width(title) for title, _ in pairs), default=0) + 2
        for title, value in pairs:
            lines = self.lines(_varying(value) if isinstance(value, Varying) else value, column)
            yield from self.beside(title, lines, column)

    def beside(self, title: str, lines: Sequence[str], column: int) -> Iterator[str]:
        """Yield lines that begin at `column` beside their title, or below it if there is too little room."""
        head = f"{pad(title, column - 2, right=True)}:"
        if not lines:
            yield head
        elif self._fits(column):
            yield f"{head} {lines[0]}"
            yield from (f"{' ' * column}{line}" if line else "" for line in lines[1:])
        else:
            yield f"{INDENT}{title}:"
            yield from (INDENT + line for line in lines)

    def lines(self, value: Any, column: int) -> list[str]:
        """Return the lines of a value that begins at `column`, escaped."""
        text, room = in_words(value), self.room(column)
        if not isinstance(value, str) and len(text) > (_NO_TERMINAL - column if room is None else room):
            text = in_words(value, indent=2)
        if room is None:
            text = escape_lines(text).rstrip("\n")
            return text.split("\n") if text else []
        lines, hidden = _wrapped(text, room, MAX_LINES if self._cuts else None)
        return [*lines, more(hidden)] if hidden else lines

    def room(self, column: int) -> int | None:
        """Return the columns for a value that begins at `column`; None outside of terminals."""
        if self._columns is None:
            return None
        return self._columns - column if self._fits(column) else max(1, self._columns - len(INDENT))

    def _fits(self, column: int) -> bool:
        return self._columns is None or self._columns - column >= _LEAST_ROOM


def more(hidden: int) -> str:
    """Return the line that stands for lines that are not shown."""
    return f"… {plural(hidden, 'more line')} (use -v)"


def _wrapped(text: str, room: int, limit: int | None) -> tuple[list[str], int]:
    """Return the first lines of `text`, wrapped to `room` columns, and the number of further lines beyond `limit`."""
    text = text.rstrip("\r\n")
    given = text.split("\n") if text else []
    lines: list[str] = []
    for place, line in enumerate(given):
        most = len(line) if limit is None else limit * room
        lines += wrap(escape_lines(line[:most].removesuffix("\r")).expandtabs(), room)
        hidden = len(given) - place - 1 + (len(line) - min(len(line), most)) // room
        if limit is not None and len(lines) + hidden > limit and len(lines) >= limit:
            return lines[: limit - 1], len(lines) - limit + 1 + hidden
    return lines, 0


def _varying(value: Varying) -> str:
    between = "" if value.lowest is None else f", {in_words(value.lowest)} to {in_words(value.highest)}"
    return f"({value.count} different values{between})"
