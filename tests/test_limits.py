"""The page docs/reference/limits.md has the limits of the code."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "reference" / "limits.md").read_text()
ROWS = re.findall(r"^\| ([^|]+) \| ([0-9.,]+)(?: (MiB|KiB|s))? \| `([a-z_.0-9]+)\.([A-Z_]+)` \|$", PAGE, re.MULTILINE)
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
