"""Make a control group for each action of a daemon to which systemd has delegated one (cgroup.py).

Processes in an action's group when a daemon starts belong to an earlier daemon that was killed together with its
monitors.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from collective.node.actions.cgroup import Group

log = logging.getLogger(__name__)

_MOUNTED = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))  # version 2 alone, and beside version 1
_MARKS = ("user.delegate", "trusted.delegate")  # systemd's CGROUP_DELEGATION.md: a delegated group has one of them


def delegated(mounted: Sequence[Path] = _MOUNTED, own: Path = Path("/proc/self/cgroup")) -> Path | None:
    """Return the folder of this process's group if it is delegated to us, else None."""
    with contextlib.suppress(OSError):
        lines = own.read_text(encoding="utf-8").splitlines()
        path = next((line[len("0::/") :] for line in lines if line.startswith("0::/")), "")
        for root in mounted:
            folder = root / path
            if path and (folder / "cgroup.kill").exists() and os.access(folder, os.W_OK) and _is_marked(folder):
                return folder
    return None


def _is_marked(folder: Path) -> bool:
    for mark in _MARKS:
        with contextlib.suppress(OSError):
            if os.getxattr(folder, mark) == b"1":
                return True
    return False


class Groups:
    """The groups of one daemon's actions, below `folder`; None disables them."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)

    def end_abandoned(self) -> None:
        """Kill the actions of an earlier daemon that was killed together with its monitors."""
        abandoned = sorted(self._folder.glob("action-*")) if self._folder else []
        for path in abandoned:
            log.warning("action.abandoned", extra={"group": str(path)})
            Group(path).end()

    def make(self) -> Group | None:
        """Return a new group, or None if none can be made."""
        if self._folder is None:
            return None
        path = self._folder / f"action-{os.getpid()}-{next(self._numbers)}"
        try:
            path.mkdir()
        except OSError as error:
            log.warning("group.failed", extra={"error": f"{path}: cannot be created: {error.strerror}"})
            return None
        return Group(path)
