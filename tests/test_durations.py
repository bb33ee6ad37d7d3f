"""Parsing and formatting durations."""

from __future__ import annotations

import pytest

from collective.durations import in_words, read, read_wait
from collective.errors import UsageError


@pytest.mark.parametrize(("text", "seconds"), [("7d", 604800), ("36h", 129600), ("0h", 0), ("15m", 900), ("90s", 90)])
def test_durations_are_parsed(text: str, seconds: float) -> None:
    """The result is in seconds."""
    assert read(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "1.5h", "3w", "7d ", "7D", "1d2h", "9999999999d", "٣d"])
def test_anything_else_is_refused(text: str) -> None:
    """The error shows the valid forms."""
    with pytest.raises(
        UsageError, match=r"invalid duration '.*': use seconds \(90s\), minutes \(15m\), hours \(36h\) or days"
    ):
        read(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10", 10), ("0.5", 0.5), (".5", 0.5), ("1.", 1), ("1.5s", 1.5), ("2m", 120), ("24h", 86400), ("1d", 86400)],
)
def test_a_wait_may_be_a_number_of_seconds(text: str, seconds: float) -> None:
    """Options such as `--timeout` accept both."""
    assert read_wait(text) == seconds


@pytest.mark.parametrize("text", ["0", "0s", "-1", "86401", "25h", "1.5h", "1e3", "nan", "inf", "1_0", "soon", "", "."])
def test_a_wait_is_positive_and_bounded(text: str) -> None:
    """Anything else is refused: no call waits for ever."""
    with pytest.raises(UsageError, match="invalid duration '"):
        read_wait(text)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0 seconds"),
        (1, "1 second"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (7200, "2 hours"),
        (172800, "2 days"),
    ],
)
def test_durations_are_formatted_with_a_unit(seconds: float, words: str) -> None:
    """A unit is used from a value of two on."""
    assert in_words(seconds) == words
