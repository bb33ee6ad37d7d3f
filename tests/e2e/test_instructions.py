"""How many instructions a start of `crpc` executes: a guard for machines on which times are too noisy.

`make instructions` installs valgrind, counts with callgrind, and compares with `tests/cases/instructions.json`. With
RECORD_INSTRUCTIONS=1 it writes that file. Counts depend on the version of Python, so it has some of each version.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.crpc_process import BIN, clean_environment
from support.daemons import configure

COUNTS = Path(__file__).parents[1] / "cases" / "instructions.json"
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
MOST = 1.1  # times the recorded count
COMMANDS = (
    ("--help",),
    ("package", "--help"),
    ("pakage", "install"),
    ("package", "install", "package=-zsh"),
    ("package", "instal", "zsh"),
    ("__complete", "bash", " =", "crpc package install --"),
)


@pytest.mark.skipif("INSTRUCTIONS" not in os.environ, reason="needs valgrind, and a minute: make instructions")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_start_executes_no_more_instructions_than_recorded(words: tuple[str, ...], tmp_path: Path) -> None:
    """A command that sends nothing stays within a tenth of what was recorded."""
    configure(tmp_path)
    environment = clean_environment() | {"COLLECTIVE_CONFIG": str(tmp_path), "PYTHONHASHSEED": "0"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # with it, modules that have changed are compiled at each start
    count = min(instructions(words, environment, tmp_path) for _ in range(2))  # the first one compiles modules
    recorded = json.loads(COUNTS.read_text())
    known = recorded.setdefault(VERSION, {})
    name = " ".join(words)
    if "RECORD_INSTRUCTIONS" in os.environ:
        known[name] = round(count / 1e6)
        COUNTS.write_text(json.dumps(recorded, indent=2, sort_keys=True) + "\n")
    if name not in known:
        pytest.skip(f"nothing is recorded for Python {VERSION}: RECORD_INSTRUCTIONS=1")
    assert count <= MOST * known[name] * 1e6, f"{count / 1e6:.0f} million instead of {known[name]}"


def instructions(words: tuple[str, ...], environment: dict[str, str], folder: Path) -> int:
    """Return how many instructions `crpc` with these words executes."""
    out = f"--callgrind-out-file={folder}/callgrind"
    command = ["valgrind", "--tool=callgrind", out, sys.executable, str(BIN / "crpc"), *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert found, done.stderr
    return int(found[1])
