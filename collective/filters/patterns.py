r"""Regular expressions in filters, limited in size and time.

A string between slashes, such as `/web\d/`, is a regular expression; only the two outer slashes are delimiters, and
there must be something between them. Expressions have Python's syntax, are not anchored and are case-sensitive.

They come from the network, so they must not block a node. A linear-time engine (google-re2) lacks look-ahead
(`/^(?!db)/`) and has a different `$`. The package `regex` accepts Python's syntax and has a timeout. What the timeout
does not limit is rejected here: syntax that Python's `re` does not have (recursion, fuzzy matching), and large
repetitions, which `regex` expands in memory (`a{1000000000}` would use all of it).
`regex` is imported when the first expression is used.
"""

from __future__ import annotations

import re
import time
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING

from collective.expression_size import check_size

if TYPE_CHECKING:
    import regex

MATCH_SECONDS = 0.25  # for all the expressions of one filter on one node
MAX_LENGTH = 500  # characters of one expression
MAX_ELEMENTS = 500  # of one expression with its repetitions expanded

_PATTERN_LIKE = re.compile(r"^[/~^]|\$$|\.\+|[*?|]|\\[.dDwWsSbB]")  # /web, web$, web*, web|db, web\d
_PLACE = re.compile(r" at position (\d+).*", re.DOTALL)


def is_pattern(text: str) -> bool:
    """Return whether `text` is a regular expression between slashes."""
    return len(text) > 2 and text[0] == "/" and text[-1] == "/"


def looks_like_pattern(text: str) -> bool:
    """Return whether `text`, no `/regex/`, could be meant as a regular expression or wildcard: `/web/i`, `web*`."""
    return not is_pattern(text) and _PATTERN_LIKE.search(text) is not None


def bare(text: str) -> str:
    """Return `text` without its outer slashes, if it has both."""
    return text[1:-1] if is_pattern(text) else text


def check(expression: str) -> None:
    """Raise ValueError with the reason if `expression` is not allowed in a filter."""
    compiled(expression)


@lru_cache(maxsize=256)
def compiled(expression: str) -> regex.Pattern[str]:
    """Return the compiled `expression`; raise ValueError with the reason if it is not allowed."""
    import regex

    _check_size(expression)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about syntax whose meaning may change in later versions
            re.compile(expression)
            return regex.compile(expression, cache_pattern=False)
    except (re.error, regex.error) as error:
        # "position 0" could be confused with the column of the option at the start of the error.
        reason = _PLACE.sub(lambda place: f" at character {int(place[1]) + 1}", str(error))
        raise ValueError(f"invalid regular expression {expression!r}: {reason}") from None
    except (RecursionError, OverflowError):
        raise ValueError("regular expression is too large") from None


def _check_size(expression: str) -> None:
    if len(expression) > MAX_LENGTH:
        raise ValueError(f"regular expression has {len(expression)} characters, at most {MAX_LENGTH} are allowed")
    check_size(expression, MAX_ELEMENTS)


class OutOfTime(Exception):
    """The regular expressions of a filter have used up their time."""


class Budget:
    """The time left for regular expressions, in seconds.

    Use one for each node, or one for a whole search in the registry. Once it is spent, filters with regular
    expressions match nothing.
    """

    def __init__(self, seconds: float = MATCH_SECONDS) -> None:
        self.seconds = seconds
        self._left = seconds

    @property
    def spent(self) -> bool:
        """Whether no time is left."""
        return self._left <= 0

    def search(self, expression: str, text: str) -> bool:
        """Return whether `expression` is found in `text`; raise OutOfTime if the time is used up."""
        pattern = compiled(expression)
        if self.spent:
            raise OutOfTime
        start = time.perf_counter()
        try:
            found = pattern.search(text, timeout=self._left) is not None
        except (TimeoutError, MemoryError):
            self._left = 0.0
            raise OutOfTime from None
        self._left -= time.perf_counter() - start
        return found
