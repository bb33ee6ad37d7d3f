"""Read what a command line names: files and standard input; a bounded part of them, and standard input once."""

from __future__ import annotations

import sys
from pathlib import Path

from collective.errors import UsageError

STDIN = "-"


class Sources:
    """The files and the standard input of one command line."""

    def __init__(self) -> None:
        self._asked_by = ""

    def read(self, source: str, where: str, most: int, hint: str = "") -> str:
        """Return the text of the file `source`, or of standard input for `-`: at most so many characters.

        Raise UsageError, its text beginning with `where`, for a longer one (a device has no end), for what cannot be
        read (then with a `hint` of what else could be meant), and when standard input has been read before.
        """
        if source == STDIN:
            self._claim(where)
        try:
            text = sys.stdin.read(most + 1) if source == STDIN else _beginning(source, most + 1)
        except OSError as error:
            raise UsageError(f"{where}: cannot be read: {error.strerror or error}{hint}") from None
        except UnicodeDecodeError:
            raise UsageError(f"{where}: not UTF-8 text") from None
        except ValueError as error:  # a NUL in the name
            raise UsageError(f"{where}: cannot be read: {error}{hint}") from None
        if len(text) > most:
            raise UsageError(f"{where}: longer than {most} characters, which is all that can be used")
        return text

    def _claim(self, where: str) -> None:
        if self._asked_by:
            raise UsageError(f"{where}: standard input is read by {self._asked_by} already: write one into a file")
        self._asked_by = where


def _beginning(source: str, most: int) -> str:
    with Path(source).open(encoding="utf-8") as file:
        return file.read(most)
