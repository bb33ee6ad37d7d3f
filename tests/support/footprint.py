"""What a daemon holds of its machine, by /proc: weighed before and after a fault, it shows that nothing has leaked.

    with weighing("1,000 requests at once", node) as weighed:
        …
    print(weighed.line())

After is waited for: connections close, memory is given back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from support.daemons import Daemon, wait_until

SETTLING = 20.0  # seconds
POOL = 20  # connections: more than max_actions + 4 are never kept
GROWTH = 15.0  # MB that the allocator may keep of what came and went


@dataclass(frozen=True)
class Footprint:
    """A daemon with its helpers: processes, open files, connections (sockets) and threads; `resident` is MB.

    Memory is the daemon's own, without the helpers'.
    """

    processes: int
    files: int
    connections: int
    threads: int
    resident: float


@dataclass
class Weighed:
    """One line of the table of leaks; `peak` is MB."""

    error: str
    before: Footprint
    after: Footprint
    peak: float = 0.0

    def line(self) -> str:
        """Return it as a row of Markdown."""
        old, new = self.before, self.after
        pairs = [(old.processes, new.processes), (old.files, new.files), (old.connections, new.connections)]
        counts = " | ".join(f"{before} → {after}" for before, after in [*pairs, (old.threads, new.threads)])
        return f"| {self.error} | {counts} | {old.resident:.0f} → {new.resident:.0f} (peak {self.peak:.0f}) |"


Record = Callable[[str], None]
Weigh = Callable[[str, Daemon], AbstractContextManager[Weighed]]
HEADER = "| fault | processes | files | connections | threads | resident MB |\n|---|---|---|---|---|---|"


def footprint(pid: int) -> Footprint:
    """Weigh a process and all below it."""
    family = [pid, *descendants(pid)]
    targets = [target for member in family for target in _open_files(member)]
    sockets = sum(target.startswith("socket:") for target in targets)
    threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
    return Footprint(len(family), len(targets) - sockets, sockets, threads, _memory(pid, "VmRSS"))


def descendants(pid: int) -> list[int]:
    """Return every process below `pid` (proc(5): /proc/PID/task/TID/children)."""
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # it ended meanwhile
            for child in map(int, children.read_text().split()):
                found += [child, *descendants(child)]
    return found


@contextmanager
def weighing(error: str, node: Daemon) -> Iterator[Weighed]:
    """Weigh a daemon before and after what the block does to it; fail when it holds more than before."""
    pid = node.process.pid
    weighed = Weighed(error, footprint(pid), footprint(pid))
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc(5): the peak begins anew
    yield weighed
    weighed.peak = _memory(pid, "VmHWM")

    def settled() -> bool:
        before, after = weighed.before, footprint(pid)
        weighed.after = after
        same = (after.processes, after.files) == (before.processes, before.files)
        return same and after.connections <= POOL and after.resident < before.resident + GROWTH

    wait_until(settled, SETTLING, lambda: f"something has leaked: {weighed}")


def _open_files(pid: int) -> Iterator[str]:
    with suppress(OSError):
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                yield str(path.readlink())


def _memory(pid: int, name: str) -> float:
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024
