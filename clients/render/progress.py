"""The progress bar on standard error.

     | [ =============>                                               ] 12 / 47
     * [ ============================================================> ] 47 / 47

It is disabled (`enabled`) when standard error is not a terminal.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

from collective.clients.render.formatting import PLAIN, Paint

_SPINNER = "|/-\\"
_WIDEST = 60  # columns
_AROUND = 22  # columns beside the bar: the brackets, and two numbers of five digits
_INTERVAL = 0.1  # seconds between two updates of the screen


def bar_width(columns: int) -> int:
    """Return the width of the bar on a terminal of `columns`; 0 if there is only room for the numbers."""
    return max(0, min(_WIDEST, columns - _AROUND))


def bar(done: int, total: int, width: int, turn: int = 0, paint: Paint = PLAIN) -> str:
    """Return the bar as text that overwrites its line; `turn` is the position of the spinner."""
    if width == 0:
        return f"\r{done} / {total}"
    complete = done >= total
    mark = "*" if complete else _SPINNER[turn % len(_SPINNER)]
    dashes = width if complete else int(done / total * width + 0.5)
    head = paint("green" if complete else "red", f" {mark} [ ")
    return f"\r{head}{'=' * dashes}>{' ' * (width - dashes)} ] {done} / {total}"


class Progress:
    """A bar on `stream`, drawn at most ten times per second; `clock` returns seconds."""

    def __init__(
        self,
        stream: TextIO,
        enabled: bool,
        columns: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        paint: Paint = PLAIN,
    ) -> None:
        self._stream = stream
        self._enabled = enabled
        self._width = bar_width(columns)
        self._clock = clock
        self._paint = paint
        self._counts: tuple[int, int] | None = None  # the latest counts, drawn or not
        self._turn = 0
        self._due = float("-inf")
        self._length = 0  # columns of the line that are in use

    def update(self, done: int, total: int) -> None:
        """Show that `done` of `total` nodes have answered, unless the bar was drawn a moment ago."""
        self._counts = (done, total)
        if self._clock() >= self._due:
            self._draw()

    def clear(self) -> None:
        """Erase the bar to make room for other text; the next update draws it again."""
        if self._length:
            self._write(f"\r{' ' * self._length}\r")
            self._length = 0
            self._due = float("-inf")

    def finish(self) -> None:
        """Draw the last state, followed by an empty line."""
        if self._counts is None:
            return
        self._draw()
        self._write("\n\n")
        self._counts = None
        self._length = 0

    def _draw(self) -> None:
        if self._counts is None:
            return
        length = len(bar(*self._counts, self._width)) - 1  # without the carriage return and colours
        text = bar(*self._counts, self._width, self._turn, self._paint)
        self._write(text + " " * (self._length - length))
        self._length = length
        self._turn += 1
        self._due = self._clock() + _INTERVAL

    def _write(self, text: str) -> None:
        if self._enabled:
            self._stream.write(text)
            self._stream.flush()
