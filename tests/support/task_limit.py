"""A control group that limits how many processes and threads a daemon can have, as systemd's TasksMax does."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.waiting import wait_until

_V1, _V2 = Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class TaskLimit:
    """The group of a process and of its children."""

    folder: Path

    @property
    def tasks(self) -> int:
        """The number of processes and threads in the group."""
        return int((self.folder / "pids.current").read_text())

    def leave(self, room: int) -> None:
        """Allow `room` more tasks than there are now."""
        (self.folder / "pids.max").write_text(str(self.tasks + room))

    def lift(self) -> None:
        """Allow any number."""
        (self.folder / "pids.max").write_text("max")


@contextlib.contextmanager
def task_limit(pid: int) -> Iterator[TaskLimit]:
    """Move a process and its children into a group of their own; skip the test where this user cannot make one."""
    parent = _V1 if (_V1 / "cgroup.procs").exists() else _V2
    folder = parent / f"collective-test-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no control group for tasks: {error.strerror}")
    try:
        if not (folder / "pids.max").exists():
            pytest.skip("no control group for tasks: the controller 'pids' is not enabled")
        for process in _family(pid):
            (folder / "cgroup.procs").write_text(str(process))
        yield TaskLimit(folder)
    finally:
        _remove(folder, parent)


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task").glob("*/children")
    return [pid, *(member for path in children for child in path.read_text().split() for member in _family(int(child)))]


def _remove(folder: Path, parent: Path) -> None:
    """Move what is left to the parent, and remove the group; ending processes need a moment to leave it."""

    def removed() -> bool:
        with contextlib.suppress(OSError):
            for process in (folder / "cgroup.procs").read_text().split():
                with contextlib.suppress(OSError):
                    (parent / "cgroup.procs").write_text(process)
            folder.rmdir()
        return not folder.exists()

    wait_until(removed, 30)
