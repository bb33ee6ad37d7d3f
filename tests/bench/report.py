"""Collect the tables of a benchmark: each is printed when it is complete, and all are written as Markdown and JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

Step = Callable[[], object]


@dataclass
class FigureTable:
    """A table: the head of its first column is the title."""

    title: str
    columns: Sequence[str]
    rows: dict[str, list[str]] = field(default_factory=dict)

    def row(self, name: str, *cells: object) -> None:
        """Add a row."""
        self.rows[name] = [f"{cell:.0f}" if isinstance(cell, float) else str(cell) for cell in cells]

    def text(self) -> str:
        """Return the table as Markdown."""
        lines = [f"| {self.title} | {' | '.join(self.columns)} |", f"|---|{'---|' * len(self.columns)}"]
        return "\n".join([*lines, *(f"| {name} | {' | '.join(cells)} |" for name, cells in self.rows.items())])


class BenchReport:
    """All tables of one run."""

    def __init__(self) -> None:
        self.tables: list[FigureTable] = []
        self._began = time.time()

    def add(self, table: FigureTable) -> None:
        """Print a table, and keep it."""
        print(f"\n{table.text()}", flush=True)
        self.tables.append(table)

    def write(self, folder: Path) -> None:
        """Write bench.md and bench.json."""
        folder.mkdir(parents=True, exist_ok=True)
        machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
        about = {"began": self._began, "seconds": time.time() - self._began, "load": os.getloadavg(), **machine}
        document = {"about": about, "tables": [asdict(table) for table in self.tables]}
        (folder / "bench.json").write_text(json.dumps(document, indent=1))
        (folder / "bench.md").write_text("\n\n".join(table.text() for table in self.tables) + "\n")


@dataclass(frozen=True)
class Spread:
    """The median of several measurements, and the smallest and largest."""

    values: Sequence[float]

    def __str__(self) -> str:
        return f"{statistics.median(self.values):.0f} ({min(self.values):.0f} to {max(self.values):.0f})"


def noise() -> FigureTable:
    """Return how much the times of one and the same work differ on this machine, now."""

    def work() -> float:
        began = time.perf_counter()
        sum(number * number for number in range(300_000))
        return (time.perf_counter() - began) * 1000

    table = FigureTable("Noise of the machine", ("median (range), ms",))
    table.row("the same computation, 50 times", Spread([work() for _ in range(50)]))
    table.row("load average", f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return table
