"""Lines end with a line feed and nowhere else; other control characters are reported."""

from __future__ import annotations

import pytest

from collective import lines

SEPARATORS = ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\r"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("a", ["a"]),
        ("a\n", ["a"]),
        ("a\nb", ["a", "b"]),
        ("a\r\nb\r\n", ["a", "b"]),
        ("\n\na", ["", "", "a"]),
    ],
)
def test_a_line_ends_with_a_line_feed_or_crlf(text: str, expected: list[str]) -> None:
    """The last line feed begins no further line."""
    assert list(lines.numbered(text)) == list(enumerate(expected, start=1))


@pytest.mark.parametrize("separator", SEPARATORS)
def test_other_separators_end_no_line_and_are_reported(separator: str) -> None:
    """`str.splitlines` would end the line at each of them."""
    text = f"a{separator}b"
    assert len(text.splitlines()) == 2
    assert list(lines.numbered(text)) == [(1, text)]
    assert lines.problem(text) == f"control character U+{ord(separator):04X} at column 2 (delete it)"


def test_tabs_and_other_scripts_are_accepted() -> None:
    """A tab separates words; letters, combining marks and emoji are text."""
    assert lines.problem("a\tb ä \u05d0 \U0001f600") is None
    assert lines.problem("a\x00b") is not None
