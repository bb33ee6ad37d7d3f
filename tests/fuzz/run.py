"""Fuzz every target and print a table: `python -m fuzz.run INPUTS [NAME …]`, from `tests/`; exit 1 on findings.

Each target runs in its own process, with a folder in `.fuzz`: its corpus, which the next run reuses, the log of
libFuzzer, and the inputs that are findings (`python -m fuzz.one NAME FILE` runs one again).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from tabulate import tabulate

from fuzz.targets import TARGETS

FOLDER = Path(__file__).parents[2] / ".fuzz"
HEADERS = ("Target", "Inputs", "Seconds", "Inputs/s", "Edges", "Corpus", "Peak MB", "Findings")
MAX_SECONDS = 10  # seconds for one input
MAX_MEMORY = 512  # MB per process, with Python and libFuzzer


def fuzz(name: str, inputs: int) -> tuple[str | int, ...]:
    """Fuzz one target; return its row."""
    folder, corpus = FOLDER / name, FOLDER / name / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(TARGETS[name].seeds):
        (corpus / f"seed{number}").write_bytes(seed)
    limits = (f"-max_len={TARGETS[name].longest}", f"-timeout={MAX_SECONDS}", f"-rss_limit_mb={MAX_MEMORY}")
    options = (f"-runs={inputs}", *limits, "-print_final_stats=1", f"-artifact_prefix={folder}/")
    began = time.monotonic()
    command = [sys.executable, "-m", "fuzz.one", name, *options, str(corpus)]
    # In memory, because disks are slow; removed here, because libFuzzer exits without cleaning up.
    with (folder / "log").open("wb") as log, TemporaryDirectory(prefix="fuzz-", dir="/dev/shm") as scratch:
        environment = {**os.environ, "TMPDIR": scratch}
        here = Path(__file__).parents[1]
        ended = subprocess.run(command, env=environment, stdout=log, stderr=log, cwd=here, check=False)
    seconds = time.monotonic() - began
    done, edges, kept, memory = _figures((folder / "log").read_text(errors="replace"))
    found = f"see .fuzz/{name}/log" if ended.returncode else "0"
    return name, done, round(seconds), round(done / seconds), edges, kept, memory, found


def _figures(log: str) -> tuple[int, int, int, int]:
    """Return the number of inputs, the edges they covered, the size of the corpus, and the peak memory in MB."""
    inputs = _last(r"stat::number_of_executed_units: (\d+)", log)
    edges, kept = _last(r"cov: (\d+) ", log), _last(r"corp: (\d+)/", log)
    return inputs, edges, kept, _last(r"stat::peak_rss_mb: +(\d+)", log)


def _last(pattern: str, log: str) -> int:
    return int((re.findall(pattern, log) or [0])[-1])


def main() -> int:
    """Fuzz the targets of the command line, or all."""
    inputs, names = int(sys.argv[1]), sys.argv[2:] or list(TARGETS)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = list(pool.map(lambda name: fuzz(name, inputs), names))
    print(tabulate(rows, HEADERS, tablefmt="github", intfmt=","))
    return int(any(row[-1] != "0" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
