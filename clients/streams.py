"""Write to standard output and standard error: the only module of the clients that does.

    write(text)      text of several lines; what a terminal would interpret or hide is escaped
    write_as_is(…)   what a program asked for, not escaped unless it is a terminal
    notice(text)     one line on standard error: `crpc: text`
    log_to(path)     append a copy of what both print to a file
    set_display      what is drawn on the terminal while a call runs, and must not mix with the text

The colours of `render.formatting.Paint` pass; renderers escape what comes from outside before they colour it.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Protocol, TextIO

from collective.errors import UsageError
from collective.text import escape_controls, escape_lines

COLORS = {"red": "\x1b[31m", "green": "\x1b[32m", "yellow": "\x1b[33m", "bold": "\x1b[1m"}
RESET = "\x1b[0m"
_CODES = re.compile("(" + "|".join(map(re.escape, (*COLORS.values(), RESET))) + ")")
_log: list[TextIO] = []  # the log file, if there is one
_display: list[Display] = []  # what is drawn on the terminal now, if anything


class Display(Protocol):
    """A progress bar or another view that a call draws on the terminal."""

    restore: str  # what returns the terminal to its usual state

    def keep(self, text: str, stream: TextIO) -> bool:
        """Make room for a text that is about to be written to the terminal, or keep it until later and return True."""


def write(text: str, stream: TextIO | None = None) -> None:
    r"""Write `text` to `stream` (default: standard output).

    Harmful characters are escaped (`\x1b`), and those that the stream's encoding lacks (`\u2026`).
    """
    if "\x1b" in text:
        parts = _CODES.split(text)
        parts[::2] = map(escape_lines, parts[::2])
        text = "".join(parts)
    else:
        text = escape_lines(text)
    write_escaped(text, stream)


def write_escaped(text: str, stream: TextIO | None = None) -> None:
    """Write what `write` has escaped already."""
    stream = stream or sys.stdout
    standard = stream in (sys.stdout, sys.stderr)
    if standard and _display and stream.isatty() and _display[0].keep(text, stream):
        return
    encoding = stream.encoding or "utf-8"
    stream.write(text if text.isascii() else text.encode(encoding, "backslashreplace").decode(encoding))
    if standard:
        copy(text)


def set_display(display: Display | None) -> None:
    """Set what is drawn on the terminal from now on; None: nothing."""
    _display[:] = [display] if display else []


def restore_terminal() -> None:
    """Return the terminal to its usual state; for a signal handler that ends the program at once."""
    if _display:
        os.write(2, _display[0].restore.encode())


def copy(text: str) -> None:
    """Append what is shown to the log file, without colours."""
    for file in _log:
        file.write(_CODES.sub("", text))
        file.flush()


def log_to(path: Path) -> None:
    """Append a copy of what is printed from now on to a file; raise UsageError if it cannot be opened."""
    close_log()
    try:
        _log[:] = [path.open("a", encoding="utf-8", errors="backslashreplace")]
    except OSError as error:
        raise UsageError(f"--log-file {path}: {error.strerror or error}") from None


def write_as_is(text: str, stream: TextIO) -> None:
    """Write `text` without a change to a file or a pipe; to a terminal as `write` does."""
    if stream.isatty():
        write(text, stream)
    else:
        stream.write(text)
    stream.flush()


def close_log() -> None:
    """Close the log file, if there is one."""
    for file in _log:
        file.close()
    _log.clear()


def notice(text: str) -> None:
    """Write one line about the work of the command to standard error."""
    write(f"crpc: {escape_controls(text)}\n", sys.stderr)


def clear_screen(terminal: TextIO) -> None:
    """Clear a terminal, and move to its first line."""
    terminal.write("\x1b[H\x1b[2J")
