"""The terminal of the person at the keyboard, whatever standard input and output are.

Usually that is /dev/tty. A process that runs a command line for another process has no terminal of its own, and adopts
the open file that it was given.
"""

from __future__ import annotations

import getpass
import os
import sys

_adopted: list[int] = []


def adopt(descriptor: int) -> None:
    """Use an open file as the terminal."""
    _adopted[:] = [descriptor]


def exists() -> bool:
    """Return whether there is a terminal to ask on."""
    if _adopted:
        return True
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def ask_secret(prompt: str) -> str:
    """Return what is typed on the terminal, without echo."""
    if not _adopted:
        return getpass.getpass(prompt)
    with open(os.dup(_adopted[0]), "r+b", buffering=0) as raw, os.fdopen(os.dup(_adopted[0]), "w") as shown:  # noqa: PTH123
        before, sys.stdin = sys.stdin, open(raw.fileno(), encoding="utf-8", closefd=False)  # noqa: SIM115
        try:
            return getpass.getpass(prompt, shown)  # without /dev/tty it reads standard input
        finally:
            sys.stdin = before
