"""Plural forms and escaped characters."""

from __future__ import annotations

import pytest
from support.harmful_text import HARMFUL

from collective.text import escape_controls, escape_lines, plural


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


def test_harmful_characters_are_escaped_in_lines_and_texts() -> None:
    """Marks that reorder or hide text are escaped everywhere, in letters and between them."""
    for char in HARMFUL:
        escaped = f"a{char.encode('unicode_escape').decode()}b"
        assert (escape_lines(f"a{char}b"), escape_controls(f"a{char}b")) == (escaped, escaped), ascii(char)


@pytest.mark.parametrize("text", ["Grüße 世界", "👩\u200d🚀", "✔\ufe0f done", "⚠\ufe0f", "❤\ufe0f\u200d🔥", "नमस्ते"])
def test_languages_and_emoji_are_unchanged(text: str) -> None:
    """A joiner or selector after an emoji belongs to its picture; after a letter it is escaped."""
    assert (escape_lines(text), escape_controls(text)) == (text, text)
    assert escape_controls("nginx\u200d") == r"nginx\u200d"
    assert escape_controls("🚀\u200dnginx") == r"🚀\u200dnginx"
