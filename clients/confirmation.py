"""Ask for confirmation on the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from collective.text import plural


def confirmation(yes: bool) -> Callable[[list[str]], bool] | None:
    """Return a function that asks for confirmation to reach some nodes, or with `yes` confirms without asking.

    Returns None when standard input is not a terminal, as in scripts.
    """
    if not sys.stdin.isatty():
        return None
    return _confirm if yes else _ask_to_continue


def ask(question: str) -> str:
    """Return the answer to a question; an empty string when standard input is not a terminal."""
    if not sys.stdin.isatty():
        return ""
    # Standard output and standard error may be redirected to files.
    with open(os.ttyname(sys.stdin.fileno()), "w", encoding="utf-8") as terminal:  # noqa: PTH123 - a device
        terminal.write(question)
    return sys.stdin.readline().strip()


def ask_whether(question: str) -> bool:
    """Return whether the answer to a question was yes."""
    return ask(f"{question} [y/N] ").lower() in ("y", "yes")


def _confirm(_nodes: list[str]) -> bool:
    return True


def _ask_to_continue(nodes: list[str]) -> bool:
    return ask_whether(f"{plural(len(nodes), 'node')}; continue?")
