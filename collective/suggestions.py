"""Suggest the known word that is closest to an unknown one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LONGEST = 100  # characters of a word that may be a mistyped one


def suggest(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return `did you mean 'x'?` for the known word closest to `word`, or `otherwise` when none is close."""
    if len(word) > _LONGEST:  # comparing takes time that grows with the square of the length
        return otherwise
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean '{close[0]}'?" if close else otherwise
