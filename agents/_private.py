"""Folders that only the node's user can access."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from collective.agent import Aborted
from collective.ownership import replaceable


def private(folder: Path) -> Path:
    """Return `folder`, created if missing; raise Aborted if other users can access it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise Aborted(f"{folder}: cannot be created: {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise Aborted(f"{folder}: must be a folder owned by the node's user with mode 0700 (use 'chmod 700 {folder}')")
    if problem := replaceable(folder):
        raise Aborted(f"{folder}: other users could replace it: {problem}")
    return folder
