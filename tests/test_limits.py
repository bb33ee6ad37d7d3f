"""The page docs/reference/limits.md has the limits of the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "reference" / "limits.md").read_text()
ROWS = re.findall(r"^\| ([^|]+) \| ([0-9.,]+)(?: (MiB|KiB|s))? \| `([a-z_.0-9]+)\.([A-Z_]+)` \|$", PAGE, re.MULTILINE)
FOLDERS = {"collective": "collective", "clients": "collective.clients", "agents": "collective.agents"}
BOUND = re.compile(r"(^|_)(MAX|MOST|LIMIT|LONGEST|LARGEST)(_|$)")
UNITS = {"": 1, "s": 1, "KiB": 1024, "MiB": 1024 * 1024}


def test_every_row_has_a_value_and_a_constant() -> None:
    """A row in another form would not be compared."""
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "| Limit |" not in line]
    rows = [line for line in rows if not line.startswith("| Limit")]
    assert len(rows) == len(ROWS) > 25


@pytest.mark.parametrize(("limit", "value", "unit", "module", "constant"), ROWS, ids=[row[4] for row in ROWS])
def test_a_limit_is_the_constant_in_the_code(limit: str, value: str, unit: str, module: str, constant: str) -> None:
    """The page and the code say the same."""
    assert getattr(import_module(module), constant) == float(value.replace(",", "")) * UNITS[unit], limit


def test_every_limit_in_the_code_is_on_the_page() -> None:
    """Each number at the top of a module that is named as a limit has a row with its module and its name."""
    listed = {(module, constant) for *_, module, constant in ROWS}
    found = set(limits())
    assert len(found) > 50
    assert found - listed == set()


def limits() -> Iterator[tuple[str, str]]:
    """Yield module and name of the constants that are numbers and named as limits."""
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            module = ".".join([package, *parts]).removesuffix(".__init__")
            for name in filter(BOUND.search, constants(ast.parse(path.read_text()))):
                if isinstance(getattr(import_module(module), name), (int, float)):
                    yield module, name


def constants(tree: ast.Module) -> Iterator[str]:
    for statement in tree.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        targets = [statement.target] if isinstance(statement, ast.AnnAssign) else targets
        yield from (target.id for target in targets if isinstance(target, ast.Name))
