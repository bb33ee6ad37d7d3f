"""Templates and expressions: what they cost is limited, in time and in memory."""

from __future__ import annotations

import sys
import time

import pytest

from collective.sandbox import Sandbox, TooMuchText, time_limited, written

LOOPS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


def test_loops_that_write_nothing_end() -> None:
    """A template that would run for hours is stopped, and tracing is as it was before."""
    template, before, began = Sandbox().from_string(LOOPS), sys.gettrace(), time.monotonic()
    with pytest.raises(TooMuchText, match=r"takes more than 0\.2 s"), time_limited(0.2):
        template.render()
    assert time.monotonic() - began < 5
    assert sys.gettrace() is before


@pytest.mark.parametrize(
    "expression", ["9 ** (9 ** 9)", "'x' * 100000000", "10 ** 9 * [1]", "([1] * 1000) * 100000", "2 ** (2 ** 40)"]
)
def test_a_value_that_is_too_large_is_not_made(expression: str) -> None:
    """One step of an expression cannot take all memory, constants included."""
    with pytest.raises(TooMuchText, match="makes a value of more than 1048576"):
        written(Sandbox().from_string(f"{{{{ {expression} }}}}"), {}, 100)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [("2 ** 10", "1024"), ("'ab' * 3", "ababab"), ("1 ** 1000000", "1"), ("2.5 * 4", "10.0")],
)
def test_other_values_are_made(expression: str, expected: str) -> None:
    """The usual arithmetic of templates works."""
    assert written(Sandbox().from_string(f"{{{{ {expression} }}}}"), {}, 100) == expected
