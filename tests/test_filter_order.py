"""Filters compare numbers, units, versions and words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.machine import of_fact

from collective.filters.ordering import number, ordered


@pytest.mark.parametrize(
    ("value", "operator", "wanted", "expected"),
    [
        (8_000_000_000, "<", "8GB", False),
        (7_999_999_999, "<", "8GB", True),
        (8_000_000_001, "<", "8GiB", True),
        (8 * 1024**3, "==", "8GiB", True),
        (512 * 1024**2, ">=", "512M", True),
        (512 * 10**6, ">=", "512MB", True),
        (512 * 10**6, ">=", "512 MiB", False),
        (2_999_999_999, ">", "3e9", False),
        (3_000_000_001, ">", "3e9", True),
        (4, "<=", "4e0", True),
        (0.5, "<", "5e-1", False),
        ("16.50 GB", ">", "8GB", True),
        ("7.79 GiB", "<", "8GB", False),
        ("10 GB", ">", "9", True),
        ("1.5T", ">", "1500G", True),
        ("3e9", ">", "5", True),
        ("-2", "<", "-1", True),
        ("+5", ">=", "5", True),
        ("5.10", ">=", "5.9", True),
        ("5.10.1", ">", "5.9.9", True),
        ("6.18.44-1-generic", ">=", "6.2", True),
        ("6.2.0-39-generic", ">=", "6.18", False),
        ("8.10", ">", "8.9", True),
        (5.1, ">=", "5.9", False),
        ("4", ">=", "4.0", True),
        ("4.0.0", "<=", "4", True),
        ("1.0~rc1", "<", "1.0", True),
        ("1.0-rc1", ">", "1.0", True),
        ("1.0rc1", "<", "1.0.1", True),
        ("5.9-4+b15", "<", "5.9-4+b16", True),
        ("2024b", "<", "2025a", True),
        ("2024b", ">", "2024a", True),
        ("9e", "<", "9f", True),
        ("web9", "<", "web10", True),
        ("beta", ">", "alpha", True),
        ("Beta", "<", "alpha", True),
        ("007", "<=", "7", True),
        (5, ">", "abc", False),
        (5, "<", "abc", False),
        (5, "!=", "abc", True),
        (True, ">", "0", False),
        ("true", ">", "false", True),
        ("", "<", "a", True),
        ("1" * 5000, ">", "9" * 4999, True),
        ("1" * 5000 + "GB", ">", "9" * 4999, True),
    ],
)
def test_order_of_numbers_units_and_versions(value: Any, operator: str, wanted: str, expected: bool) -> None:
    """Numbers with exponents and units are ordered as numbers, other strings as versions."""
    assert of_fact(value, operator, wanted) is expected


WORDS = st.text("ab~.-+ 0129", max_size=6) | st.from_regex(r"[0-9]{1,2}(\.[0-9]{1,2}){0,2}(rc[0-9])?", fullmatch=True)
NUMBERS = st.from_regex(r"[+-]?[0-9]{1,3}(e[0-9]|GB|GiB| M|K)", fullmatch=True)


@pytest.mark.parametrize("strings", [WORDS.filter(lambda text: number(text) is None or text[0] not in "+-."), NUMBERS])
def test_the_order_of_strings_is_total(strings: Any) -> None:
    """Of two strings one is at most the other, not both unless they are equal, and the order is transitive."""

    @settings(max_examples=300, deadline=None)
    @given(strings, strings, strings)
    def check(first: str, second: str, third: str) -> None:
        at_most = [ordered(left, "<=", right) for left, right in ((first, second), (second, third), (first, third))]
        assert ordered(first, "<=", first)
        assert at_most[0] or ordered(second, "<=", first)
        assert at_most[2] or not (at_most[0] and at_most[1])
        assert ordered(first, "<", second) is not ordered(first, ">=", second)
        assert ordered(first, ">", second) is not at_most[0]

    check()


@settings(max_examples=200, deadline=None)
@given(st.text("abcXYZ"), st.text("abcXYZ"))
def test_words_keep_their_order(first: str, second: str) -> None:
    """Strings of letters are ordered by code point."""
    assert ordered(first, "<", second) is (first < second)


@settings(max_examples=200, deadline=None)
@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False), st.integers())
def test_json_numbers_keep_their_order(value: float, other: int) -> None:
    """A JSON number is ordered exactly against any number that a caller writes."""
    assert ordered(value, "<", str(other)) is (value < other)
    assert ordered(value, ">=", str(other)) is (value >= other)
