"""Keep a lab busy for half an hour and check that nothing grows; prints the table of docs/reliability.md.

    PYTHONPATH=tests .venv/bin/python tests/bench/soak.py [--minutes 30] [--rate 20]

    schedule ─► callers (threads, each with a Fleet) ─► five collectived ─► counts of this minute
    every minute: counts, latencies, resources of every process ─► a row ─► at the end a verdict: exit 0 or 1

Most calls are rpcutil to one node after the other; some run commands, and some go to all nodes. The second sixth of the
time is compared with the last: during the first, code is still being loaded. Daemons are judged by resident memory,
because the daemons of a lab are forked from one process and turn shared pages into private ones for a long time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from support.crpc_process import own_lab
from support.footprint import descendants, footprint

from collective import Fleet, Targets
from collective.errors import CollectiveError
from collective.lab.layout import Layout

CALLERS = 8  # threads
NODES = 5
SAMPLES = 5
GROWTH = 4.0  # MB of memory, or open files, that the last sixth may have more than the second
Inputs = tuple[str, str, dict[str, Any]]
PING: Inputs = ("rpcutil", "ping", {})
STATS: Inputs = ("rpcutil", "daemon_stats", {})
COMMANDS: list[Inputs] = [
    ("shell", "run", {"command": "true"}),
    ("nrpe", "runcommand", {"command": "check_disk"}),
    ("package", "status", {"package": "bash"}),
]


@dataclass
class Minute:
    """The calls of one minute: outcomes of nodes, seconds of each call, and errors by their text."""

    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)


class Traffic:
    """Makes calls at a steady rate (per second) until it is stopped; a late call is made at once."""

    def __init__(self, rate: float, nodes: list[str]) -> None:
        self._rate = rate
        self._nodes = nodes
        self._began = time.monotonic()
        self._next = 0
        self._minute = Minute()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._call_at_rate) for _ in range(CALLERS)]

    def start(self) -> None:
        """Start calling."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop calling, and wait for the calls in progress."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def turn(self) -> Minute:
        """Return the counts since the last call of this method."""
        with self._lock:
            minute, self._minute = self._minute, Minute()
        return minute

    def _call_at_rate(self) -> None:
        with Fleet.connect() as fleet:
            while not self._stopping.is_set():
                with self._lock:
                    number, self._next = self._next, self._next + 1
                self._stopping.wait(max(0.0, self._began + number / self._rate - time.monotonic()))
                self._call(fleet, number)

    def _call(self, fleet: Fleet, number: int) -> None:
        agent, action, data = _call_of(number)
        healthy = self._nodes[:-1] if agent == "nrpe" else self._nodes  # the disk check of the last one is CRITICAL
        nodes = healthy if number % 50 == 0 else [healthy[(number + number // 20) % len(healthy)]]
        began = time.monotonic()
        try:
            outcomes: Counter[str] = Counter(
                fleet.call(agent, action, data, targets=Targets(nodes=nodes)).wait().counts()
            )
            errors: list[str] = []
        except CollectiveError as error:
            outcomes, errors = Counter(), [str(error)]
        with self._lock:
            self._minute.seconds.append(time.monotonic() - began)
            self._minute.outcomes.update(outcomes)
            self._minute.errors.update(errors)


def _call_of(number: int) -> Inputs:
    """Return the call of a number: three of twenty run commands."""
    place = number % 20
    if place < len(COMMANDS):
        return COMMANDS[place]
    return STATS if place == 10 else PING


class Row(NamedTuple):
    """One minute. Memory is in MB, latencies in ms, files on disk in KB; daemon figures are means of all five."""

    calls: int
    ok: int
    failed: int
    silent: int
    errors: int
    p50: float
    p99: float
    resident: float
    private: float
    helpers: float
    callers: float
    server: float
    files: float
    journal: float
    audit: float


HEADER = (
    "| minute | calls | ok | failed | silent | errors | p50, ms | p99, ms | a daemon, MB | of it private | "
    "its helpers | callers, MB | server, MB | open files | journal, KB | audit, KB |"
)


def main() -> None:
    """Print a row per minute, then the verdict."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--rate", type=float, default=20.0, help="calls per second")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        layout = Layout(Path(name) / "lab")
        with own_lab(layout, NODES) as environment:
            os.environ.update(environment)
            rows = soak(layout, options.minutes, options.rate)
    problems = judge(rows, options.rate)
    print("\n" + ("\n".join(problems) or "no growth, no errors"))
    sys.exit(bool(problems))


def soak(layout: Layout, minutes: int, rate: float) -> list[Row]:
    """Keep a lab busy; return one row per minute."""
    print(HEADER + "\n" + "|---" * HEADER.count(" | ") + "|---|", flush=True)
    traffic = Traffic(rate, layout.nodes())
    rows: list[Row] = []
    traffic.start()
    try:
        began = time.monotonic()
        for number in range(1, minutes + 1):
            time.sleep(began + number * 60 - time.monotonic())
            rows.append(measured(layout, traffic.turn()))
            print(f"| {number} | {' | '.join(map(_shown, rows[-1]))} |", flush=True)
    finally:
        traffic.stop()
    return rows


def measured(layout: Layout, minute: Minute) -> Row:
    """Return the row of a minute, with the resources of every process at its end."""
    pids = [pid for node in layout.nodes() if (pid := layout.pid(layout.node(node) / "pid"))]
    for text, count in minute.errors.items():
        print(f"{count} times: {text}", file=sys.stderr)
    quantiles = statistics.quantiles(minute.seconds, n=100) if len(minute.seconds) > 1 else [0.0] * 99
    return Row(
        calls=len(minute.seconds),
        ok=minute.outcomes["ok"],
        failed=minute.outcomes["failed"],
        silent=minute.outcomes["silent"],
        errors=minute.errors.total(),
        p50=quantiles[49] * 1000,
        p99=quantiles[98] * 1000,
        resident=statistics.mean(footprint(pid).resident for pid in pids),
        private=statistics.mean(map(_private, pids)),
        helpers=_idle(lambda: statistics.mean(sum(map(_private, descendants(pid))) for pid in pids)),
        callers=_private(os.getpid()),
        server=_private(_server(layout)),
        files=_idle(lambda: statistics.mean(footprint(pid).files for pid in pids)),
        journal=_kilobytes(layout, "state/journal.sqlite*"),
        audit=_kilobytes(layout, "audit.jsonl"),
    )


def judge(rows: list[Row], rate: float) -> list[str]:
    """Return the problems, one line each."""
    sixth = max(1, len(rows) // 6)
    early, late = rows[sixth : 2 * sixth] or rows[:1], rows[-sixth:]
    total = Counter({name: sum(getattr(row, name) for row in rows) for name in ("failed", "silent", "errors")})
    problems = [f"{count} {name}" for name, count in total.items() if count]
    for name in ("resident", "helpers", "callers", "files"):
        before, after = (statistics.mean(getattr(row, name) for row in part) for part in (early, late))
        print(f"\n{name}: {before:.1f} in the second sixth, {after:.1f} in the last", end="")
        if after > before + GROWTH:
            problems.append(f"{name} grew from {before:.1f} to {after:.1f}")
    calls = sum(row.calls for row in rows)
    print(f"\n{calls} calls, {calls / len(rows) / 60:.1f} per second")
    if calls < 0.95 * rate * 60 * len(rows):
        problems.append(f"the rate of {rate:g} calls per second was not reached")
    return problems


def _idle(sample: Callable[[], float]) -> float:
    """Return the minimum of several samples, so that an action in progress does not count."""
    least = sample()
    for _ in range(SAMPLES):
        time.sleep(0.1)
        least = min(least, sample())
    return least


def _private(pid: int) -> float:
    """Return the memory that only this process uses (proc(5): smaps_rollup), in MB; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def _server(layout: Layout) -> int:
    """Return the pid of the AWS emulator."""
    supervisor = layout.pid(layout.supervisor_pid)
    assert supervisor is not None
    return next(
        pid for pid in descendants(supervisor) if b"lab.aws_server" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )


def _kilobytes(layout: Layout, pattern: str) -> float:
    """Return the size of files in KB, the mean of all nodes."""
    sizes = [path.stat().st_size for node in layout.nodes() for path in layout.node(node).glob(pattern)]
    return sum(sizes) / 1024 / NODES


def _shown(value: float) -> str:
    return f"{value:.1f}" if isinstance(value, float) and value < 100 else f"{value:.0f}"


if __name__ == "__main__":
    main()
