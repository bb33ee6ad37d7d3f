"""Read the files that a command line names, up to a size limit; standard input at most once."""

from __future__ import annotations

import sys
from pathlib import Path

from collective.errors import UsageError

STDIN = "-"


class Sources:
    """The files and the standard input of one command line."""

    def __init__(self) -> None:
        self._reader = ""

    def read(self, source: str, where: str, limit: int, hint: str = "") -> str:
        """Return the text of the file `source`, or of standard input for `-`.

        Raises UsageError, whose message begins with `where`: for a text of more than `limit` characters (a device may
        have no end), for an unreadable file (`hint` is appended), and for standard input that has been read before.
        """
        if source == STDIN:
            self._claim(where)
        try:
            text = sys.stdin.read(limit + 1) if source == STDIN else _start_of(source, limit + 1)
        except OSError as error:
            raise UsageError(f"{where}: cannot be read: {error.strerror or error}{hint}") from None
        except UnicodeDecodeError:
            raise UsageError(f"{where}: not UTF-8 text") from None
        except ValueError as error:  # a NUL in the name
            raise UsageError(f"{where}: cannot be read: {error}{hint}") from None
        if len(text) > limit:
            raise UsageError(f"{where}: too long (the limit is {limit} characters)")
        return text

    def _claim(self, where: str) -> None:
        if self._reader:
            raise UsageError(f"{where}: standard input is already used by {self._reader} (put one of them in a file)")
        self._reader = where


def _start_of(source: str, length: int) -> str:
    with Path(source).open(encoding="utf-8") as file:
        return file.read(length)
