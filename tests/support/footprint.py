"""Measure the resources of a daemon through /proc, before and after an event, to find leaks.

    with measuring("1,000 requests at once", node) as measured:
        …
    print(measured.line())

The second measurement waits until connections are closed and memory is returned.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from support.daemons import Daemon
from support.waiting import wait_until

SETTLING = 20.0  # seconds
POOL = 20  # connections; a daemon keeps at most max_actions + 4
GROWTH = 15.0  # MB of freed memory that the allocator may keep


@dataclass(frozen=True)
class Footprint:
    """The resources of a daemon and its worker processes: processes, open files, connections (sockets), threads.

    `resident` is the memory of the daemon itself, without the workers, in MB.
    """

    processes: int
    files: int
    connections: int
    threads: int
    resident: float


@dataclass
class Measurement:
    """One row of the table: the resources before and after; `peak` is in MB."""

    event: str
    before: Footprint
    after: Footprint
    peak: float = 0.0

    def line(self) -> str:
        """Return the row in Markdown."""
        old, new = self.before, self.after
        pairs = [(old.processes, new.processes), (old.files, new.files), (old.connections, new.connections)]
        counts = " | ".join(f"{before} → {after}" for before, after in [*pairs, (old.threads, new.threads)])
        return f"| {self.event} | {counts} | {old.resident:.0f} → {new.resident:.0f} (peak {self.peak:.0f}) |"


Record = Callable[[str], None]
Measure = Callable[[str, Daemon], AbstractContextManager[Measurement]]
HEADER = "| event | processes | files | connections | threads | resident MB |\n|---|---|---|---|---|---|"


def footprint(pid: int) -> Footprint:
    """Return the resources of a process and its descendants."""
    family = [pid, *descendants(pid)]
    targets = [target for member in family for target in _open_files(member)]
    sockets = sum(target.startswith("socket:") for target in targets)
    threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
    return Footprint(len(family), len(targets) - sockets, sockets, threads, _memory(pid, "VmRSS"))


def descendants(pid: int) -> list[int]:
    """Return the pids of all processes below `pid` (proc(5): /proc/PID/task/TID/children)."""
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # the process has ended
            for child in map(int, children.read_text().split()):
                found += [child, *descendants(child)]
    return found


@contextmanager
def measuring(event: str, node: Daemon) -> Iterator[Measurement]:
    """Compare the resources of a daemon before and after the block; fail if it holds more afterwards."""
    pid = node.process.pid
    measured = Measurement(event, footprint(pid), footprint(pid))
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc(5): reset the peak
    yield measured
    measured.peak = _memory(pid, "VmHWM")

    def settled() -> bool:
        before, after = measured.before, footprint(pid)
        measured.after = after
        same = (after.processes, after.files) == (before.processes, before.files)
        return same and after.connections <= POOL and after.resident < before.resident + GROWTH

    wait_until(settled, SETTLING, lambda: f"resources leaked: {measured}")


def _open_files(pid: int) -> Iterator[str]:
    with suppress(OSError):
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                yield str(path.readlink())


def _memory(pid: int, name: str) -> float:
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024
