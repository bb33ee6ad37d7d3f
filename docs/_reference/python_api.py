"""The public names of the package `collective`, each a line that mkdocstrings turns into its documentation."""

from __future__ import annotations

import collective


def exported() -> str:
    """Return one entry for each name that `collective` exports."""
    entries = []
    for name in sorted(collective.__all__):
        member = getattr(collective, name)
        if hasattr(member, "__qualname__"):
            entries.append(f"::: {member.__module__}.{member.__qualname__}")
    return "\n\n".join(entries)
