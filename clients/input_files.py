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
        """Return the text of the file `source`, or of standard input for `-`, with its line ends as they are.

        Raises UsageError, whose message begins with `where`: for more than `limit` bytes (a device may have no end),
        for an unreadable file (`hint` is appended), for bytes that are not UTF-8, and for standard input that has
        been read before.
        """
        if source == STDIN:
            self._claim(where)
        try:
            content = _start_of_stdin(limit + 1) if source == STDIN else _start_of(source, limit + 1)
        except OSError as error:
            raise UsageError(f"{where}: cannot be read: {error.strerror or error}{hint}") from None
        except ValueError as error:  # a NUL in the name
            raise UsageError(f"{where}: cannot be read: {error}{hint}") from None
        if len(content) > limit:
            raise UsageError(f"{where}: too long (the limit is {limit} bytes)")
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(f"{where}: not UTF-8 text: {error.reason} at byte {error.start}") from None

    def _claim(self, where: str) -> None:
        if self._reader:
            raise UsageError(f"{where}: standard input is already used by {self._reader} (put one of them in a file)")
        self._reader = where


def _start_of(source: str, length: int) -> bytes:
    with Path(source).open("rb") as file:
        return file.read(length)


def _start_of_stdin(length: int) -> bytes:
    binary = getattr(sys.stdin, "buffer", None)
    if binary is None:  # replaced by a text stream
        return sys.stdin.read(length).encode("utf-8", "surrogatepass")
    return bytes(binary.read(length))
