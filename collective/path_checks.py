"""Path checks that do not raise: a parent folder may be inaccessible, or a name too long."""

from __future__ import annotations

from pathlib import Path


def may_exist(path: Path) -> bool:
    """Return whether a path exists, or cannot be checked: opening it then reports the reason."""
    try:
        return path.exists()
    except OSError:
        return True


def is_folder(path: Path) -> bool:
    """Return whether a path is known to be a folder; False if it cannot be checked."""
    try:
        return path.is_dir()
    except OSError:
        return False
