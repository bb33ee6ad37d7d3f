"""Notice that files of plug-ins have changed, so that the node reloads them without a signal (`plugins_period`).

A change counts when two looks in a row see the same files: a file that is just being written waits for the next look.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

_FileState = tuple[str, int, int, int]  # path, inode, size in bytes, time of the last change in nanoseconds


class PluginWatch:
    """Looks at all files below `folders`, every `period` seconds."""

    def __init__(self, folders: Sequence[Path], period: float) -> None:
        self.period = period
        self._folders = folders
        self._loaded = self._last = self._look()

    def changed(self) -> bool:
        """Return whether the files differ from those at the last change, and have not changed since the last look."""
        now = self._look()
        settled, self._last = now == self._last, now
        if not settled or now == self._loaded:
            return False
        self._loaded = now
        return True

    def _look(self) -> frozenset[_FileState]:
        return frozenset(state for folder in self._folders for state in _files(folder))


def _files(folder: Path) -> Iterator[_FileState]:
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)  # noqa: PTH118 - os.walk has strings
            try:
                found = os.stat(path)  # noqa: PTH116 - the same
            except OSError:
                continue  # deleted meanwhile, or a link that leads nowhere
            if not name.endswith(".pyc"):
                yield (path, found.st_ino, found.st_size, found.st_ctime_ns)
