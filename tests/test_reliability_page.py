"""docs/reliability.md names a test for every failure: those tests exist."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "reliability.md").read_text(encoding="utf-8")


def test_every_test_named_on_the_page_exists() -> None:
    """Each test that the reliability page names exists, so that each promise has its proof."""
    sources = {path.name: path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py")}
    named = set(re.findall(r"`(test_\w+(?:\.py)?)`", PAGE))
    assert len(named) > 15
    known = sources.keys() | set(re.findall(r"^def (test_\w+)", "\n".join(sources.values()), re.MULTILINE))
    assert named - known == set()


def test_every_make_target_named_on_the_page_exists() -> None:
    """The page names targets of the Makefile."""
    makefile = (TESTS.parent / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"`make (\w+)`", PAGE))
    assert named == {target for target in named if f"\n{target}:" in makefile}
