"""Give each action a control group of its own, where systemd has handed us ours (`Delegate=yes`): cgroups(7), v2.

    <our group>              the daemon, the fork server, keepers
    ├── action-<pid>-<n>     one action that runs: the worker, and all that it starts
    └── left                 what finished actions have left running on purpose

A group is ended at one blow (`cgroup.kill`): what forks in it, however fast, has no time to. What is in an action's
group when a daemon starts belonged to an earlier one, that was killed together with its keepers. Where no group is ours
there are none of these, and keepers end families by themselves. This module is preloaded by the fork server.
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
_MARKS = ("user.delegate", "trusted.delegate")  # systemd's CGROUP_DELEGATION.md: what is ours has either
_LEFT = "left"
_ROUNDS = 100  # looks at a group, for processes that were forked meanwhile
_DYING = 5.0  # seconds that killed processes may take to be gone


def delegated(mounted: Sequence[Path] = _MOUNTED, own: Path = Path("/proc/self/cgroup")) -> Path | None:
    """Return the folder of the group that this process is in, when it is ours to divide; else None."""
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
    """The group of one action. What cannot be done with it raises nothing: the keeper does its work without it too."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def enter(self) -> None:
        """Be in it, with all that this process will start."""
        with contextlib.suppress(OSError):
            (self.path / "cgroup.procs").write_text("0", encoding="ascii")

    def kill(self) -> None:
        """Kill everything in it, at one blow."""
        with contextlib.suppress(OSError):
            (self.path / "cgroup.kill").write_text("1", encoding="ascii")

    def end(self) -> None:
        """Kill everything in it, and take it away when all of that is gone."""
        until = time.monotonic() + _DYING
        while self.path.exists() and time.monotonic() < until:
            self.kill()
            with contextlib.suppress(OSError):  # busy: what was killed is still dying
                self._remove()
                return
            time.sleep(0.005)

    def release(self) -> None:
        """Let what is still in it live on elsewhere, and take it away."""
        left = self.path.parent / _LEFT
        for _ in range(_ROUNDS):
            try:
                self._remove()
            except OSError:
                self._move_all(left)
            else:
                return

    def _remove(self) -> None:
        """Take it away, if it is there, with the groups that were made in it; OSError: somebody is in one of them."""
        for folder in self._folders():
            folder.rmdir()

    def _move_all(self, to: Path) -> None:
        with contextlib.suppress(OSError):
            to.mkdir(exist_ok=True)
        for folder in self._folders():
            with contextlib.suppress(OSError):
                for pid in (folder / "cgroup.procs").read_text(encoding="ascii").split():
                    with contextlib.suppress(OSError):  # it has ended meanwhile
                        (to / "cgroup.procs").write_text(pid, encoding="ascii")

    def _folders(self) -> list[Path]:
        """Return the folders of it and of all groups in it, as container runtimes make some: the deepest first."""
        return [Path(folder) for folder, _, _ in os.walk(self.path, topdown=False)]


class Groups:
    """The groups of one daemon's actions, below `folder`; None: there are none."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)

    def end_abandoned(self) -> None:
        """End what an earlier daemon's actions have left, that died with their keepers."""
        abandoned = sorted(self._folder.glob("action-*")) if self._folder else []
        for path in abandoned:
            log.warning("action.abandoned", extra={"group": str(path)})
            Group(path).end()

    def make(self) -> Group | None:
        """Return a new group; None where there can be none."""
        if self._folder is None:
            return None
        path = self._folder / f"action-{os.getpid()}-{next(self._numbers)}"
        try:
            path.mkdir()
        except OSError as error:
            log.warning("group.failed", extra={"error": f"{path}: cannot be made: {error.strerror}"})
            return None
        return Group(path)
