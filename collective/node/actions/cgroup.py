"""Give each action its own control group, if systemd has delegated one to the daemon (`Delegate=yes`): cgroups(7), v2.

    <daemon's group>         the daemon, the fork server, monitors
    ├── action-<pid>-<n>     one running action: the worker and everything it starts
    └── left                 processes that successful actions left running on purpose

`cgroup.kill` kills a whole group atomically, so a fork bomb cannot outrun it. Processes in an action's group when a
daemon starts belong to an earlier daemon that was killed together with its monitors. Without a delegated group,
monitors kill an action's processes one by one. The fork server preloads this module.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path

log = logging.getLogger(__name__)

_MOUNTED = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))  # version 2 alone, and beside version 1
_MARKS = ("user.delegate", "trusted.delegate")  # systemd's CGROUP_DELEGATION.md: a delegated group has one of them
_LEFT = "left"
_ROUNDS = 100  # attempts to empty a group: its processes may fork meanwhile
_DYING = 5.0  # seconds that killed processes may take to disappear


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


class Group:
    """The group of one action. No method raises: the monitor can do its work without a group."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def enter(self) -> None:
        """Move this process, and so all that it will start, into the group."""
        with contextlib.suppress(OSError):
            (self.path / "cgroup.procs").write_text("0", encoding="ascii")

    def kill(self) -> None:
        """Kill everything in the group atomically."""
        with contextlib.suppress(OSError):
            (self.path / "cgroup.kill").write_text("1", encoding="ascii")

    def end(self) -> None:
        """Kill everything in the group, and remove it when its processes are gone."""
        until = time.monotonic() + _DYING
        while self.path.exists() and time.monotonic() < until:
            self.kill()
            with contextlib.suppress(OSError):  # busy: the killed processes are still there
                self._remove()
                return
            time.sleep(0.005)

    def release(self) -> None:
        """Move the processes that are still in the group to `left`, and remove it."""
        left = self.path.parent / _LEFT
        for _ in range(_ROUNDS):
            try:
                self._remove()
            except OSError:
                self._move_all(left)
            else:
                return

    def _remove(self) -> None:
        """Remove the group, if it exists, and the groups below it; raise OSError if one has a process."""
        for folder in self._folders():
            folder.rmdir()

    def _move_all(self, to: Path) -> None:
        with contextlib.suppress(OSError):
            to.mkdir(exist_ok=True)
        for folder in self._folders():
            with contextlib.suppress(OSError):
                for pid in (folder / "cgroup.procs").read_text(encoding="ascii").split():
                    with contextlib.suppress(OSError):  # the process has ended
                        (to / "cgroup.procs").write_text(pid, encoding="ascii")

    def _folders(self) -> list[Path]:
        """Return the folders of the group and of all groups below it (container runtimes make some), deepest first."""
        return [Path(folder) for folder, _, _ in os.walk(self.path, topdown=False)]


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
