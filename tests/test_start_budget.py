"""What a start of `crpc` imports: counts, which do not depend on the machine, and not seconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from collective.bundled import DDLS

# Modules that each class of command lines imports beside those of an empty Python, at most.
BUDGETS = {
    "--help": 140,
    "ping --help": 105,
    "package --help": 175,
    "find --colour": 90,
    "packge status": 165,
    "package statu": 175,
    "package status color=red": 190,
    "package install package=-zsh": 190,
    "process signal signal=TEM pattern=cron": 190,
}
# What takes long to import, and is needed by no command line that is refused, nor by help.
SLOW = """asyncio boto3 botocore concurrent.futures cryptography hashlib jsonschema multiprocessing regex""".split()
MODULES = """
import sys
before = set(sys.modules)
from collective.clients.crpc import main
main(sys.argv[1:])
print(*sorted(set(sys.modules) - before))
"""
FRONT = """
import sys
before = set(sys.modules)
from collective.clients.warm import front
print(*sorted(set(sys.modules) - before))
"""


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A usual client.yaml."""
    (tmp_path / "client.yaml").write_text("collective: lab\ncaller: operator@lab\n")
    monkeypatch.setenv("COLLECTIVE_CONFIG", str(tmp_path))


def imported(script: str, *words: str, flags: tuple[str, ...] = ()) -> set[str]:
    """Return the modules that a script prints on its last line."""
    command = [sys.executable, *flags, "-c", script, *words]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1].split())


@pytest.mark.parametrize("line", BUDGETS)
def test_a_start_imports_few_modules(configured: None, line: str) -> None:
    """Help and refused command lines import few modules, and none that takes long."""
    found = imported(MODULES, *line.split())
    assert len(found) <= BUDGETS[line], sorted(found)
    assert not found.intersection(SLOW)


def test_the_front_end_of_the_warm_process_imports_nothing_in_python() -> None:
    """The front end imports modules in C, and what Python has imported for itself."""
    found = imported(f"import sys; sys.path.insert(0, {str(DDLS.parents[1])!r}){FRONT}", flags=("-I",))
    ours = {name for name in found if name.partition(".")[0] == "collective"}
    assert ours == {
        *("collective", "collective.version", "collective.clients", "collective.clients.warm"),
        *("collective.clients.warm.front", "collective.clients.warm.place"),
    }
    assert found - ours <= {"_socket", "_signal", "marshal", "posix"}
