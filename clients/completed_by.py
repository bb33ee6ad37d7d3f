"""Mark options and words with the values that the shell can complete for them."""

from __future__ import annotations

import argparse


def completed_by(kind: str, argument: argparse.Action) -> None:
    """Name the values that the shell can complete for an option or word: one of completion/values.py's SOURCES."""
    argument.completed_by = kind  # type: ignore[attr-defined]
