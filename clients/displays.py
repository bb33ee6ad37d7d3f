"""Displays on standard error while a call runs: the progress bar, or the full screen of `--live`.

    with bar(lambda: call.progress, paint, shown=True) as display:      a thread draws five times per second
        for reply in call:
            display.take(reply)

What is printed meanwhile does not mix with a display: the bar is erased before it and drawn again after it; the full
screen keeps it until its end. A display leaves the terminal as it was, also when it is interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from collective.clients import streams
from collective.clients.render.formatting import PLAIN, Paint
from collective.clients.render.progress import bar_line
from collective.periodic import PeriodicThread

if TYPE_CHECKING:
    from collective.fleet.progress import CallProgress
    from collective.messages import Reply

INTERVAL = 0.2  # seconds between two updates of the screen
ERASE = "\r\x1b[K"  # the line of the cursor
ENTER = "\x1b[?1049h\x1b[?25l"  # the alternate screen, without a cursor
LEAVE = "\x1b[?25h\x1b[?1049l"
_UNKNOWN = (80, 24)
_HOME, _BELOW = "\x1b[H", "\x1b[J"

Snapshot = Callable[[], "CallProgress"]


class NoDisplay:
    """Shows nothing: standard error is not a terminal, or `-q` is given."""

    def __enter__(self) -> NoDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing."""

    def take(self, reply: Reply) -> None:
        """Do nothing with a reply."""


class Bar(NoDisplay):
    """The progress bar."""

    restore = ""  # what the terminal needs when the program ends at once

    def __init__(self, stream: TextIO, snapshot: Snapshot, paint: Paint = PLAIN) -> None:
        self._stream = stream
        self._snapshot = snapshot
        self._paint = paint
        self._turn = 0
        self._shown = False
        self._lock = threading.RLock()
        self._thread = PeriodicThread("progress", self.draw, INTERVAL)

    def __enter__(self) -> Bar:
        streams.set_display(self)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Draw the last state, followed by an empty line."""
        self._thread.stop(timeout=1.0)
        streams.set_display(None)
        with self._lock:
            self.draw()
            self._write("\n\n")

    def draw(self) -> None:
        """Draw the bar as it is now."""
        with self._lock:
            line = bar_line(self._snapshot(), terminal_size(self._stream)[0], self._turn, self._paint)
            self._write(f"{line}\x1b[K")
            self._shown = True
            self._turn += 1

    def keep(self, _text: str, _stream: TextIO) -> bool:
        """Erase the bar to make room for a text; return False: it can be written now."""
        with self._lock:
            if self._shown:
                self._write(ERASE)
                self._shown = False
        return False

    def _write(self, text: str) -> None:
        _draw(self._stream, text)


class FullScreen(NoDisplay):
    """The full-screen view, on the terminal's alternate screen."""

    restore = LEAVE

    def __init__(self, stream: TextIO, title: str, snapshot: Snapshot, paint: Paint = PLAIN) -> None:
        self._stream = stream
        self._title = title
        self._snapshot = snapshot
        self._paint = paint
        self._turn = 0
        self._failures: list[Reply] = []
        self._kept: list[tuple[str, TextIO]] = []
        self._before: Any = signal.SIG_DFL
        self._lock = threading.RLock()
        self._thread = PeriodicThread("live", self.draw, INTERVAL)

    def __enter__(self) -> FullScreen:
        streams.set_display(self)
        self._before = signal.signal(signal.SIGTSTP, self._suspend)
        self._write(ENTER)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Return to the normal screen, and write what was kept."""
        self._thread.stop(timeout=1.0)
        self._write(LEAVE)
        signal.signal(signal.SIGTSTP, self._before)
        streams.set_display(None)
        for text, stream in self._kept:
            streams.write_escaped(text, stream)

    def take(self, reply: Reply) -> None:
        """Remember a failed reply."""
        from collective.clients.render.live import MAX_FAILURES

        if not reply.ok:
            self._failures = [*self._failures, reply][-MAX_FAILURES:]

    def draw(self) -> None:
        """Draw the whole screen in one write, without clearing it first, so that it does not flicker."""
        from collective.clients.render.live import screen_lines

        size = terminal_size(self._stream)
        lines = screen_lines(self._title, self._snapshot(), self._failures, size, self._turn, self._paint)
        with self._lock:
            self._write(_HOME + "\r\n".join(f"{line}\x1b[K" for line in lines) + _BELOW)
        self._turn += 1

    def keep(self, text: str, stream: TextIO) -> bool:
        """Keep a text until the end of the view; return True."""
        self._kept.append((text, stream))
        return True

    def _suspend(self, number: int, _frame: object) -> None:
        """Let Ctrl-Z suspend the program on the normal screen; return to the view when it continues."""
        with self._lock:  # nothing is drawn meanwhile
            self._write(LEAVE)
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            signal.signal(number, self._suspend)
            self._write(ENTER)

    def _write(self, text: str) -> None:
        _draw(self._stream, text)


def _draw(terminal: TextIO, text: str) -> None:
    """Write to a terminal. It may have been closed: then there is nothing to draw on, and the call goes on."""
    with suppress(OSError):
        terminal.write(text)
        terminal.flush()


def terminal_size(stream: TextIO) -> tuple[int, int]:
    """Return the columns and lines of a terminal; 80 and 24 if these are unknown."""
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return _UNKNOWN
    return (size.columns, size.lines) if size.columns and size.lines else _UNKNOWN


def bar(snapshot: Snapshot, paint: Paint, *, shown: bool) -> NoDisplay:
    """Return the progress bar on standard error; nothing if it is not `shown`, or standard error is not a terminal."""
    if shown and sys.stderr.isatty():
        return Bar(sys.stderr, snapshot, paint)
    return NoDisplay()


def full_screen(title: str, snapshot: Snapshot, paint: Paint) -> NoDisplay:
    """Return the full-screen view on standard error, which must be a terminal."""
    return FullScreen(sys.stderr, title, snapshot, paint)
