"""Limit the time of checks of foreign values, so that no value can stop the thread that checks it.

    with limited(CHECK_SECONDS):
        …                      every step below calls `check_time` or `search`, which raise CheckTimeout

A step that runs in C, such as a regular expression of `re`, cannot be interrupted, not even by a signal: `search` uses
the package `regex`, which has a timeout, unless the expression is certain to be quick.
"""

from __future__ import annotations

import re
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

from collective.expression_size import check_size

if TYPE_CHECKING:
    import regex

CHECK_SECONDS = 1.0  # for all inputs of a request
OUTPUT_SECONDS = 30.0  # for all outputs of an action: there may be 500,000 values, and no other request waits
SCHEMA_SECONDS = 10.0  # for a schema of a DDL itself, whose defaults are checked by its own patterns
MAX_ELEMENTS = 2000  # of one expression with its repetitions expanded
SHORT = 64  # characters of a text in which a simple expression cannot take long

_SIMPLE = 3  # repetitions, none of a group: at most SHORT to the power of 3 steps
_REPETITION = re.compile(r"[*+{]")
_REPEATED_GROUP = re.compile(r"\)[*+{]")
_UNLIMITED = float("inf")


class CheckTimeout(Exception):
    """A check has used up its time."""


class _Limit(threading.local):
    """When the check that runs in this thread must end, in seconds of the monotonic clock."""

    end = _UNLIMITED


_limit = _Limit()


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Limit the checks below to `seconds`, or to what is left of an enclosing limit. They raise CheckTimeout."""
    before = _limit.end
    _limit.end = min(before, time.monotonic() + seconds)
    try:
        yield
    finally:
        _limit.end = before


def check_time() -> None:
    """Raise CheckTimeout when the time is used up."""
    if time.monotonic() > _limit.end:
        raise CheckTimeout


def search(expression: str, text: str) -> bool:
    """Return whether a regular expression is found in `text`. Raise CheckTimeout; `re.error` if it is not valid."""
    if _limit.end == _UNLIMITED or (len(text) <= SHORT and _is_simple(expression)):
        return re.search(expression, text) is not None
    _load_regex()
    left = _limit.end - time.monotonic()
    if left <= 0:
        raise CheckTimeout
    import regex

    try:
        return _compiled(expression).search(text, timeout=left) is not None
    except (TimeoutError, MemoryError, regex.error):
        raise CheckTimeout from None


def _load_regex() -> None:
    """Import the package, which on a busy machine may take a second: that is not the time of the check."""
    if "regex" not in sys.modules:
        began = time.monotonic()
        import regex  # noqa: F401 - see above

        _limit.end += time.monotonic() - began


def _is_simple(expression: str) -> bool:
    return not _REPEATED_GROUP.search(expression) and len(_REPETITION.findall(expression)) <= _SIMPLE


@lru_cache(maxsize=256)
def _compiled(expression: str) -> regex.Pattern[str]:
    import regex  # takes 20 ms, which most calls need not wait for

    return regex.compile(expression, cache_pattern=False)


def check_expression(expression: str) -> bool:
    """Return whether `search` accepts an expression. Raise ValueError with the reason if not."""
    check_time()
    check_size(expression, MAX_ELEMENTS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)  # syntax of other dialects, as in [[:alpha:]]
            re.compile(expression)
        if not _is_simple(expression):
            _compiled(expression)
    except ValueError:
        raise
    except Exception as error:  # the two packages have several error classes, without a common base
        raise ValueError(str(error)) from None
    return True
