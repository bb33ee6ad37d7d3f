"""What the parts of a filter may be: each check returns nothing and raises ValueError, saying why.

Both ways in use them: options turn the error into a column, data from the network into a MessageError.
"""

from __future__ import annotations

import re

from collective import names
from collective.errors import UsageError
from collective.filters import patterns

OPERATORS = ("==", "!=", "=~", "<", "<=", ">", ">=")

_FACT = re.compile(r"[^\s=<>!]+")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_fact(fact: str, operator: str, value: str) -> None:
    """Check a fact's name and what it is compared with."""
    if not _FACT.fullmatch(fact):
        raise ValueError(f"{fact!r} is no fact: a name without blanks, '=', '<', '>' and '!'")
    check_comparison(operator, value)


def check_data(function: str, field: str, operator: str, value: str) -> None:
    """Check a data function's name and field, and what it is compared with."""
    for word in (function, field):
        if not _WORD.fullmatch(word):
            raise ValueError(f"{word!r} is no name of a data function or field: letters, digits and '_'")
    check_comparison(operator, value)


def check_comparison(operator: str, value: str) -> None:
    """Check that `operator` is one of ours, and `value` a regular expression where it must be one."""
    if operator not in OPERATORS:
        raise ValueError(f"{operator!r} is no operator: there are {' '.join(OPERATORS)}")
    expression = expression_of(operator, value)
    if expression is not None:
        patterns.check(expression)


def check_name(name: str) -> None:
    """Check the name of a class or agent, or a `/regex/`."""
    if not name:
        raise ValueError("a name is empty")
    if patterns.is_pattern(name):
        patterns.check(patterns.bare(name))


def check_identity(name: str) -> None:
    """Check an identity or a `/regex/`."""
    if patterns.is_pattern(name):
        check_name(name)
        return
    try:
        names.check_identity(name)
    except UsageError as error:
        raise ValueError(str(error)) from None


def expression_of(operator: str, value: str) -> str | None:
    """Return the regular expression, without slashes, that a comparison asks for, or None."""
    if operator == "=~" or (operator == "!=" and patterns.is_pattern(value)):
        return patterns.bare(value)
    return None
