"""Give each action its own control group, if systemd has delegated one to the daemon (`Delegate=yes`): cgroups(7), v2.

    <daemon's group>         the daemon, the fork server, monitors
    ├── action-<pid>-<n>     one running action: the worker and everything it starts
    └── left                 processes that successful actions left running on purpose

`cgroup.kill` kills a whole group atomically, so a fork bomb cannot outrun it. Without a delegated group, monitors kill
an action's processes one by one. groups.py makes the groups. The fork server imports this module, so it imports little.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

_LEFT = "left"
_ROUNDS = 100  # attempts to empty a group: its processes may fork meanwhile
_DYING = 5.0  # seconds that killed processes may take to disappear


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
