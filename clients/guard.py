"""Ask, on a terminal, whether an action is really meant for so many nodes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


def confirmation(yes: bool) -> Callable[[list[str]], bool] | None:
    """Return what asks whoever sits at the terminal, or says `yes` for him; None in scripts: nobody can be asked."""
    if not sys.stdin.isatty():
        return None
    return _say_yes if yes else _ask


def _say_yes(_nodes: list[str]) -> bool:
    return True


def _ask(nodes: list[str]) -> bool:
    question = f"{len(nodes)} node{'' if len(nodes) == 1 else 's'}; go on? [y/N] "
    # Where the answer will be typed: standard error may be a file that nobody reads.
    with open(os.ttyname(sys.stdin.fileno()), "w", encoding="utf-8") as terminal:  # noqa: PTH123 - a device
        terminal.write(question)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
