"""The table of docs/failures.md: what real processes did when a failure was injected, made by the tests that inject it.

    @pytest.mark.failure(SIGNAL, "SIGKILL of the daemon during an action")
    def test_…: '''What must be seen: the first sentence is a cell of the table.'''

`make failures` runs these tests with FAILURES=FILE, to which conftest.py writes one result per test; then
`python -m support.failures FILE` writes the table.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SIGNAL, RESOURCE, NETWORK, CLOCK, DISK, AWS = "signals", "resources", "network", "clocks", "disks", "AWS resources"
KINDS = (SIGNAL, RESOURCE, NETWORK, CLOCK, DISK, AWS)
E2E = Path(__file__).parents[1] / "e2e"
PAGE = Path(__file__).parents[2] / "docs" / "failures.md"
HEADER = "| Failure | What is seen | Runs | Longest, s | Test |\n|---|---|---|---|---|\n"
PROPERTY = "failure"


@dataclass(frozen=True)
class FailureTest:
    """A test that injects a failure; `seen` is the first line of its docstring, `name` is FILE::TEST."""

    kind: str
    failure: str
    seen: str
    name: str


@dataclass(frozen=True)
class Result:
    """A passed run of a test; `figures` are strings that it recorded."""

    name: str
    seconds: float
    figures: tuple[str, ...]


def declared() -> list[FailureTest]:
    """Return the marked tests, from the syntax trees of the files in tests/e2e."""
    return [found for path in sorted(E2E.glob("test_*.py")) for found in _in_file(path)]


def _in_file(path: Path) -> Iterator[FailureTest]:
    functions = [part for part in ast.parse(path.read_text()).body if isinstance(part, ast.FunctionDef)]
    for function in functions:
        for call in function.decorator_list:
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.failure":
                kind, failure = call.args
                seen = (ast.get_docstring(function) or "").splitlines()[0]
                kind_name = ast.unparse(kind).rpartition(".")[2]
                yield FailureTest(globals()[kind_name], ast.literal_eval(failure), seen, _name(path, function))


def _name(path: Path, function: ast.FunctionDef) -> str:
    return f"{path.name}::{function.name}"


def results(reports: Iterable[pytest.TestReport]) -> list[dict[str, object]]:
    """Return the results of the marked tests among the reports of a run, as JSON values."""
    found = []
    for report in reports:
        properties = report.user_properties
        if report.when == "call" and any(key == PROPERTY for key, _ in properties):
            name = (
                Path(report.nodeid.partition("::")[0]).name + "::" + report.nodeid.partition("::")[2].partition("[")[0]
            )
            figures = [text for key, text in properties if key == "figure"]
            found.append({"name": name, "seconds": report.duration, "figures": figures})
    return found


def table(tests: Iterable[FailureTest], runs: Iterable[Result]) -> str:
    """Return the sections of the page, a table for each kind. Raise ValueError for a test without a passed run."""
    by_name = defaultdict(list)
    for run in runs:
        by_name[run.name].append(run)
    tests = list(tests)
    if missing := [test.name for test in tests if not by_name[test.name]]:
        raise ValueError(f"these tests have not passed: {', '.join(missing)}")
    parts = []
    for kind in KINDS:
        rows = [_row(test, by_name[test.name]) for test in tests if test.kind == kind]
        parts.append(f"## {kind[0].upper()}{kind[1:]}\n\n{HEADER}{''.join(rows)}")
    return "\n".join(parts)


def _row(test: FailureTest, runs: list[Result]) -> str:
    figures = list(dict.fromkeys(text for run in runs for text in run.figures))
    seen = " ".join([test.seen, *(f"Measured: {text}." for text in figures[:1])]).replace("|", "\\|")
    longest = max(run.seconds for run in runs)
    return f"| {test.failure} | {seen} | {len(runs)} | {longest:.1f} | `{test.name}` |\n"


def rows() -> list[tuple[str, str, str, str]]:
    """Return kind, failure, what was seen and test of each row of the page."""
    found = []
    for section in PAGE.read_text().split("\n## ")[1:]:
        kind = section.partition("\n")[0].lower().replace("aws", "AWS")
        cells = re.findall(r"^\| (.+?) \| (.+?) \| \d+ \| [\d.]+ \| `(.+?)` \|$", section, re.MULTILINE)
        found += [(kind, failure, seen, test) for failure, seen, test in cells]
    return found


def main() -> None:
    """Write the tables of the page from the results in the file that is named on the command line."""
    runs = [
        Result(run["name"], run["seconds"], tuple(run["figures"])) for run in json.loads(Path(sys.argv[1]).read_text())
    ]
    head = PAGE.read_text().partition("\n## ")[0].rstrip("\n") + "\n"
    PAGE.write_text(f"{head}\n{table(declared(), runs)}")


if __name__ == "__main__":
    main()
