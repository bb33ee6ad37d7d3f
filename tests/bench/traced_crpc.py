"""Run `crpc`, and write when its parts were done to the file BENCH_MARKS: in milliseconds since the process started."""

from __future__ import annotations

import atexit
import json
import logging
import os
import sys
import time
from pathlib import Path

ticks = float(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
began = time.monotonic() - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks)
marks: dict[str, float] = {}


def now() -> float:
    """Return the milliseconds since the process started."""
    return (time.monotonic() - began) * 1000


class _Marks(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        parts = {name: value for name, value in vars(record).items() if name.endswith("_ms")}
        made = now() - parts["ended_ms"]
        marks["start"] = made - parts["discovery_ms"]
        marks["discovery"] = made
        for part in ("signed", "sent", "first_reply", "last_reply"):
            marks[part] = made + parts[f"{part}_ms"]


def main() -> None:
    """Run `crpc` with the arguments of this program, as its console script does."""
    from collective.clients.start import main as crpc

    logger = logging.getLogger("collective.fleet.call_timings")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(_Marks())
    atexit.register(write)
    sys.exit(crpc())


def write() -> None:
    """Write the marks: at the end, when everything is printed."""
    marks["rendered"] = now()
    Path(os.environ["BENCH_MARKS"]).write_text(json.dumps(marks))


if __name__ == "__main__":
    main()
