"""Escaping and colour of text for terminals."""

from __future__ import annotations

import io

import pytest

from collective.clients.render.formatting import Paint, color_enabled, to_json
from collective.text import escape_controls, escape_lines


class Terminal(io.StringIO):
    """A stream that behaves like a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


@pytest.mark.parametrize(
    ("mode", "terminal", "environ", "expected"),
    [
        ("auto", True, {}, True),
        ("auto", False, {}, False),
        ("auto", True, {"NO_COLOR": "1"}, False),
        ("auto", True, {"NO_COLOR": ""}, True),
        ("auto", True, {"TERM": "dumb"}, False),
        ("always", False, {}, True),
        ("always", True, {"NO_COLOR": "1"}, True),
        ("never", True, {}, False),
        ("auto", False, {"FORCE_COLOR": "1"}, True),
        ("auto", False, {"FORCE_COLOR": "0"}, False),
        ("auto", False, {"CLICOLOR_FORCE": "1"}, True),
        ("auto", False, {"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, False),
        ("auto", True, {"CLICOLOR": "0"}, False),
        ("never", True, {"FORCE_COLOR": "1"}, False),
    ],
)
def test_color_enabled(mode: str, terminal: bool, environ: dict[str, str], expected: bool) -> None:
    """Text for a terminal is coloured unless an option or the environment decides otherwise."""
    assert color_enabled(mode, Terminal() if terminal else io.StringIO(), environ) is expected


def test_every_control_character_is_escaped() -> None:
    """All control characters except newline and tab are escaped."""
    every = "".join(map(chr, [*range(32), *range(127, 160)]))
    kept = [character for character in escape_lines(every) if character < " " or "\x7f" <= character < "\xa0"]
    assert kept == ["\t", "\n"]
    assert escape_controls("a\tb\r\nc") == r"a\tb\r\nc"


def test_ordinary_text_is_unchanged() -> None:
    """Text in any language, emoji included, is unchanged."""
    text = "Grüße 世界 👩\u200d🚀 a\tb\n"
    assert escape_lines(text) == text


def test_paint() -> None:
    """Paint adds codes around text, but not around an empty string or when it is disabled."""
    assert Paint(True)("red", "x") == "\x1b[31mx\x1b[0m"
    assert Paint(True)("red", "") == ""
    assert Paint(False)("red", "x") == "x"


def test_a_value_that_is_not_json() -> None:
    """A value that JSON cannot represent is described and raises no error."""
    assert to_json(object()).startswith("(cannot be printed: ")
