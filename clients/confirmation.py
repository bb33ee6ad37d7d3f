"""Ask, on a terminal, whether what is about to happen is really meant."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


def confirmation(yes: bool) -> Callable[[list[str]], bool] | None:
    """Return what asks whoever sits at the terminal, or says `yes` for him; None in scripts: nobody can be asked."""
    if not sys.stdin.isatty():
        return None
    return _say_yes if yes else _ask


def ask(question: str) -> str:
    """Return what whoever sits at the terminal says to a question; nothing where nobody can be asked."""
    if not sys.stdin.isatty():
        return ""
    # Where the answer will be typed: standard error may be a file that nobody reads.
    with open(os.ttyname(sys.stdin.fileno()), "w", encoding="utf-8") as terminal:  # noqa: PTH123 - a device
        terminal.write(question)
    return sys.stdin.readline().strip()


def ask_whether(question: str) -> bool:
    """Tell whether the answer to a question was yes."""
    return ask(f"{question} [y/N] ").lower() in ("y", "yes")


def _say_yes(_nodes: list[str]) -> bool:
    return True


def _ask(nodes: list[str]) -> bool:
    return ask_whether(f"{len(nodes)} node{'' if len(nodes) == 1 else 's'}; go on?")
