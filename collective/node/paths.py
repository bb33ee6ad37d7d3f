"""Path checks that do not raise when a parent folder is not accessible."""

from __future__ import annotations

from pathlib import Path


def may_exist(path: Path) -> bool:
    """Return whether a path exists, or cannot be checked: opening it then reports the reason."""
    try:
        return path.exists()
    except OSError:
        return True
