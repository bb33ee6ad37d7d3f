"""Whether the files that a process has imported are still the installed ones."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

_ALL_FILES = 2.0  # seconds after which not only folders and our own files are looked at


class ImportedFiles:
    """The modules of this process, and those that it would import: what changes them makes it stale.

    An upgrade replaces files, which changes their folders; our own files may also be edited in place.
    """

    def __init__(self) -> None:
        files = [module.__file__ for module in [*sys.modules.values()] if getattr(module, "__file__", None)]
        paths = {Path(str(file)) for file in files}
        folders = {path.parent for path in paths} | {Path(entry) for entry in sys.path if Path(entry).is_dir()}
        own = {path for path in paths if Path(__file__).parents[2] in path.parents}
        self._quick = stamps(folders | own)
        self._all = stamps(folders | paths)
        self._looked = time.monotonic()

    def changed(self) -> str | None:
        """Return a file or folder that is not as it was, or None."""
        now = time.monotonic()
        known = self._all if now - self._looked > _ALL_FILES else self._quick
        self._looked = now
        return next((path for path, before in known.items() if _stamp(path) != before), None)


def stamps(paths: Iterable[str | Path]) -> dict[str, tuple[int, ...]]:
    """Return what changes with each file or folder."""
    return {str(path): _stamp(str(path)) for path in paths}


def _stamp(path: str) -> tuple[int, ...]:
    """Return what changes with a file; zeros if it does not exist."""
    try:
        found = os.stat(path)  # noqa: PTH116 - called a thousand times
    except OSError:
        return (0,)
    return (found.st_mtime_ns, found.st_size, found.st_ino)
