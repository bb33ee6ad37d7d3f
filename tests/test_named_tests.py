"""The documents name tests as proofs, and targets of the Makefile: all of them exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.documents import DOCS, ROOT, name

SOURCES = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
KNOWN = SOURCES.keys() | set(re.findall(r"^def (test_\w+)", "\n".join(SOURCES.values()), re.MULTILINE))
WRITTEN = {"test_load.py"}  # by readers of the tutorial
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(" ".join(re.findall(r"^([a-z][a-z -]*):", MAKEFILE, re.MULTILINE)).split())
CURRENT = [*sorted(DOCS.rglob("*.md")), ROOT / "CONTRIBUTING.md", ROOT / "README.md"]  # not the history in CHANGELOG.md


@pytest.mark.parametrize("page", ["reliability.md", "security.md"])
def test_a_page_of_promises_names_many_tests(page: str) -> None:
    """The pages about failures and attacks name the tests that try them."""
    assert len(set(re.findall(r"`(test_\w+)`", (DOCS / page).read_text(encoding="utf-8")))) >= 6


@pytest.mark.parametrize("path", CURRENT, ids=name)
def test_every_named_test_exists(path: Path) -> None:
    """Each test or module of tests that a document names exists, so that each promise has its proof."""
    named = re.findall(r"`(?:tests/(?:\w+/)?)?(test_\w+(?:\.py)?)`", path.read_text(encoding="utf-8"))
    assert set(named) - KNOWN - WRITTEN == set()


@pytest.mark.parametrize("path", CURRENT, ids=name)
def test_every_named_make_target_exists(path: Path) -> None:
    """Each `make TARGET` in a document names a target of the Makefile."""
    assert set(re.findall(r"`make ([\w-]+)`", path.read_text(encoding="utf-8"))) - TARGETS == set()
