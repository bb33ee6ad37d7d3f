"""Write to standard output and standard error: the only module of the clients that does.

    write(text)      text of several lines; what a terminal would interpret or hide is escaped
    write_as_is(…)   what a program asked for, not escaped unless it is a terminal
    notice(text)     one line on standard error: `crpc: text`

The colours of `render.formatting.Paint` pass; renderers escape what comes from outside before they colour it.
"""

from __future__ import annotations

import os
import re
import sys
from typing import TextIO

from collective.text import escape_controls, escape_lines

COLORS = {"red": "\x1b[31m", "green": "\x1b[32m", "yellow": "\x1b[33m", "bold": "\x1b[1m"}
RESET = "\x1b[0m"
_CODES = re.compile("(" + "|".join(map(re.escape, (*COLORS.values(), RESET))) + ")")


def write(text: str, stream: TextIO | None = None) -> None:
    r"""Write `text` to `stream` (default: standard output).

    Harmful characters are escaped (`\x1b`), and those that the stream's encoding lacks (`\u2026`).
    """
    stream = stream or sys.stdout
    parts = _CODES.split(text)
    parts[::2] = map(escape_lines, parts[::2])
    encoding = stream.encoding or "utf-8"
    stream.write("".join(parts).encode(encoding, "backslashreplace").decode(encoding))


def write_as_is(text: str, stream: TextIO) -> None:
    """Write `text` without a change to a file or a pipe; to a terminal as `write` does."""
    if stream.isatty():
        write(text, stream)
    else:
        stream.write(text)
    stream.flush()


def discard_output() -> None:
    """Discard what is still buffered for standard output, because the interpreter would try to write it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def notice(text: str) -> None:
    """Write one line about the work of the command to standard error."""
    write(f"crpc: {escape_controls(text)}\n", sys.stderr)
