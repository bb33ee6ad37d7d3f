"""docs/reliability.md names a test for every fault: those tests are there."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "reliability.md").read_text(encoding="utf-8")


def test_every_test_that_the_page_names_is_there() -> None:
    """A test that was renamed would leave a promise that nobody keeps."""
    sources = {path.name: path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py")}
    named = set(re.findall(r"`(test_\w+(?:\.py)?)`", PAGE))
    assert len(named) > 15
    known = sources.keys() | set(re.findall(r"^def (test_\w+)", "\n".join(sources.values()), re.MULTILINE))
    assert named - known == set()


def test_every_word_that_the_page_names_is_there() -> None:
    """So are the words of the Makefile."""
    makefile = (TESTS.parent / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"`make (\w+)`", PAGE))
    assert named == {word for word in named if f"\n{word}:" in makefile}
