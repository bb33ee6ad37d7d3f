"""Characters that cannot harm a terminal, and when to colour."""

from __future__ import annotations

import io

import pytest

from collective.clients.render.formatting import Paint, clean, clean_line, color_enabled, to_json


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

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
    ],
)
def test_color_enabled(mode: str, terminal: bool, environ: dict[str, str], expected: bool) -> None:
    """Colour is for terminals where nobody refused it, unless an option says otherwise."""
    assert color_enabled(mode, Terminal() if terminal else io.StringIO(), environ) is expected


def test_every_control_character_is_made_visible() -> None:
    """No control character but newline and tab passes."""
    every = "".join(map(chr, [*range(32), *range(127, 160)]))
    kept = [character for character in clean(every) if character < " " or "\x7f" <= character < "\xa0"]
    assert kept == ["\t", "\n"]
    assert clean_line("a\tb\r\nc") == r"a\tb\nc"


def test_ordinary_text_is_left_alone() -> None:
    """Text of any language, emoji included, stays as it is."""
    text = "Grüße 世界 👩\u200d🚀 a\tb\n"
    assert clean(text) == text


def test_paint() -> None:
    """Colour is put around text, and nothing around nothing or when it is off."""
    assert Paint(True)("red", "x") == "\x1b[31mx\x1b[0m"
    assert Paint(True)("red", "") == ""
    assert Paint(False)("red", "x") == "x"


def test_unshowable_value() -> None:
    """A value that is no JSON is described, never an error."""
    assert to_json(object()).startswith("(cannot be shown: ")
