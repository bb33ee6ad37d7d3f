"""How large a regular expression is with its repetitions expanded, which is what the package `regex` stores.

`(?:(?:a{1000}){1000}){1000}` has 28 characters and would use all memory. Expressions come from the network: in filters,
and in the patterns of DDLs that nodes and callers send.
"""

from __future__ import annotations

import re

MAX_DEPTH = 50  # nested groups
_LONGEST = 500  # characters of an expression in a message

_PIECE = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{\d*,?\d*\}|.", re.DOTALL)
_COUNT = re.compile(r"\{(\d*)(,?)(\d*)\}")
_COMMENT = re.compile(r"\(\?(#|[a-zA-Z-]*x)")


def check_size(expression: str, most: int) -> None:
    """Raise ValueError with the reason if an expression has more than `most` elements, or what hides its size."""
    if _COMMENT.search(expression):
        raise ValueError(f"invalid regular expression {_shown(expression)}: comments are not allowed")
    if _expanded_size(expression) > most:
        raise ValueError(f"regular expression {_shown(expression)} has more than {most} elements (after expansion)")


def _expanded_size(expression: str) -> int:
    """Return how many elements `expression` has with each `x{n,m}` expanded n times."""
    open_groups, last = [0], 0
    for piece in _PIECE.findall(expression):
        if piece == "(":
            open_groups.append(0)
            if len(open_groups) > MAX_DEPTH:
                raise ValueError(
                    f"regular expression {_shown(expression)} has groups nested more than {MAX_DEPTH} levels deep"
                )
            continue
        if piece == ")" and len(open_groups) > 1:
            last = open_groups.pop() + 1
        elif piece[0] == "{":
            times = _minimum(expression, piece)
            open_groups[-1] += last * (times - 1)
            last *= times
            continue
        else:
            last = 1
        open_groups[-1] += last
    return sum(open_groups)


def _minimum(expression: str, piece: str) -> int:
    count = _COUNT.fullmatch(piece)
    if count is None or not (count[1] or count[3]):
        raise ValueError(rf"invalid regular expression {_shown(expression)}: '{{' without a count (use '\{{')")
    return max(1, int(count[1] or 0))


def _shown(expression: str) -> str:
    return repr(expression if len(expression) <= _LONGEST else f"{expression[:_LONGEST]}…")
