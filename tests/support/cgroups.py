"""Find the cgroup v2 hierarchy, for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from support.waiting import wait_until

MOUNTED = [root for root in map(Path, ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")) if (root / "cgroup.procs").exists()]


@contextmanager
def emptied(name: str) -> Iterator[Path]:
    """Create a control group for the time of the block; then kill its processes and remove all groups below it."""
    folder = MOUNTED[0] / name
    folder.mkdir()
    try:
        yield folder
    finally:
        (folder / "cgroup.kill").write_text("1")
        wait_until(lambda: _removed(folder), 30)


def _removed(folder: Path) -> bool:
    with suppress(OSError):
        for path in sorted(folder.rglob("*/"), reverse=True):
            if path.is_dir():
                path.rmdir()
        folder.rmdir()
    return not folder.exists()
