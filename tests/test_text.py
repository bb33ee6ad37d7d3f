"""Plural forms and escaped control characters."""

from __future__ import annotations

import pytest

from collective.text import escape_controls, plural


@pytest.mark.parametrize(("count", "expected"), [(0, "0 nodes"), (1, "1 node"), (2, "2 nodes")])
def test_plural_counts_its_noun(count: int, expected: str) -> None:
    """Only one of a thing is singular."""
    assert plural(count, "node") == expected


def test_plural_takes_an_irregular_form() -> None:
    """A noun whose plural does not end in s brings its own."""
    assert plural(2, "policy", "policies") == "2 policies"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("plain", "plain"), ("a\x1b[31mb", r"a\x1b[31mb"), ("two\nlines", r"two\nlines"), ("\u2028", r"\u2028")],
)
def test_escape_controls_leaves_one_printable_line(text: str, expected: str) -> None:
    """A terminal has nothing to interpret in the result."""
    assert escape_controls(text) == expected
