r"""Regular expressions in filters: which text is one, which are refused, and what they may cost.

A text between slashes, `/web\d/`, is a regular expression; only the two outer slashes delimit, and there must
be something between them. Expressions are Python's, not anchored, case-sensitive.

They come from the network, so they must not hold a node. A linear-time engine (google-re2) would not be
Python's: it has no look-ahead, `/^(?!db)/`, and another `$`. `regex` from PyPI takes Python's syntax and a
timeout. What a timeout does not bound is refused here: what Python's own `re` does not know (recursion, fuzzy
matching), and large repetitions, which `regex` writes out in memory (`a{1000000000}` takes all there is).
It is imported when the first expression is met.
"""

from __future__ import annotations

import re
import time
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import regex

MATCH_SECONDS = 0.25  # for all the expressions of one filter on one node
LONGEST = 500  # characters of one expression
MAX_DEPTH = 50  # groups within groups
MOST_REPEATED = 500  # elements of one expression when its repetitions are written out

_PIECE = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{\d*,?\d*\}|.", re.DOTALL)
_PLACE = re.compile(r" at position (\d+).*", re.DOTALL)
_COUNT = re.compile(r"\{(\d*)(,?)(\d*)\}")
_COMMENT = re.compile(r"\(\?(#|[a-zA-Z-]*x)")


def is_pattern(text: str) -> bool:
    """Tell whether `text` is a regular expression between slashes."""
    return len(text) > 2 and text[0] == "/" and text[-1] == "/"


def bare(text: str) -> str:
    """Return `text` without its outer slashes when it has both."""
    return text[1:-1] if is_pattern(text) else text


def check(expression: str) -> None:
    """Raise ValueError, saying why, when `expression` is not one that a filter may hold."""
    compiled(expression)


@lru_cache(maxsize=256)
def compiled(expression: str) -> regex.Pattern[str]:
    """Return `expression` ready for use; raise ValueError, saying why, when it is refused."""
    import regex

    _check_size(expression)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about syntax that may change its meaning in a later Python
            re.compile(expression)
            return regex.compile(expression, cache_pattern=False)
    except (re.error, regex.error) as error:
        # Not its "position 0": it would be taken for the column of the option, which the error begins with.
        said = _PLACE.sub(lambda place: f", at its character {int(place[1]) + 1}", str(error))
        raise ValueError(f"regular expression {expression!r}: {said}") from None
    except (RecursionError, OverflowError):
        raise ValueError("a regular expression that is too large") from None


def _check_size(expression: str) -> None:
    if len(expression) > LONGEST:
        raise ValueError(f"a regular expression of {len(expression)} characters: {LONGEST} at most")
    if _COMMENT.search(expression):
        raise ValueError(f"regular expression {expression!r}: comments have no place in a filter")
    if _unrolled(expression) > MOST_REPEATED:
        raise ValueError(f"regular expression {expression!r}: it repeats more than {MOST_REPEATED} times")


def _unrolled(expression: str) -> int:
    """Return how many elements `expression` has when every `x{n,m}` is written out n times."""
    open_groups, last = [0], 0
    for piece in _PIECE.findall(expression):
        if piece == "(":
            open_groups.append(0)
            if len(open_groups) > MAX_DEPTH:
                raise ValueError(f"regular expression {expression!r}: groups are nested too deeply")
            continue
        if piece == ")" and len(open_groups) > 1:
            last = open_groups.pop() + 1
        elif piece[0] == "{":
            times = _least(expression, piece)
            open_groups[-1] += last * (times - 1)
            last *= times
            continue
        else:
            last = 1
        open_groups[-1] += last
    return sum(open_groups)


def _least(expression: str, piece: str) -> int:
    count = _COUNT.fullmatch(piece)
    if count is None or not (count[1] or count[3]):
        raise ValueError(rf"regular expression {expression!r}: a '{{' that counts nothing is written '\{{'")
    return max(1, int(count[1] or 0))


class OutOfTime(Exception):
    """The expressions of a filter have used up their time."""


class Budget:
    """What regular expressions may still cost, in seconds; `spent` once it is gone.

    One for each node, or one for a whole search through a registry: after it is spent, whatever needs an
    expression matches nothing, at once.
    """

    def __init__(self, seconds: float = MATCH_SECONDS) -> None:
        self.seconds = seconds
        self._left = seconds

    @property
    def spent(self) -> bool:
        """Whether an expression had to be given up."""
        return self._left <= 0

    def search(self, expression: str, text: str) -> bool:
        """Tell whether `expression` is found in `text`; raise OutOfTime when there is no time left to say."""
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
