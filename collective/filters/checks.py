"""Check the parts of a filter. Each check returns nothing, or raises ValueError with the reason.

Parsing options adds the column to the error; decoding data from the network turns it into a MessageError.
"""

from __future__ import annotations

import re

from collective import names
from collective.errors import UsageError
from collective.filters import patterns
from collective.filters.ordering import ORDER, misspelt_unit
from collective.filters.paths import steps

OPERATORS = ("==", "!=", "=~", "<", "<=", ">", ">=")

MAX_FACT = 1000  # characters of a fact's path

_NOT_IN_KEY = re.compile(r"[\s=<>!\"]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BRACKETS = re.compile(r"\[[^\]]+\]")  # of a value; classes of Chef have them: recipe[nginx]


def check_fact(fact: str, operator: str, value: str) -> None:
    """Check a fact's name, the operator and the value."""
    if len(fact) > MAX_FACT:
        raise ValueError(f"fact name has {len(fact)} characters, at most {MAX_FACT} are allowed")
    if fact.endswith("~"):
        raise ValueError(f"unknown operator '~{'=' if operator == '==' else operator}' (use =~, or !=/regex/)")
    if not fact or any(not quoted and _NOT_IN_KEY.search(key) for key, quoted in steps(fact)):
        raise ValueError(f'invalid fact name {fact!r}: use no whitespace and none of =<>!" (or quote the key)')
    check_comparison(operator, value)


def check_data(function: str, field: str, operator: str, value: str) -> None:
    """Check a data function's name and field, the operator and the value."""
    for kind, name in (("data function", function), ("field", field)):
        if not _NAME.fullmatch(name):
            raise ValueError(f"invalid {kind} name {name!r}: use letters, digits and '_'")
    check_comparison(operator, value)


def check_comparison(operator: str, value: str) -> None:
    """Check that `operator` exists, and that `value` is a valid regular expression if the operator needs one."""
    if operator not in OPERATORS:
        raise ValueError(f"unknown operator {operator!r}: use one of {' '.join(OPERATORS)}")
    expression = expression_of(operator, value)
    if expression is not None:
        patterns.check(expression)
    elif operator in ORDER and patterns.is_pattern(value):
        raise ValueError(f"'{operator}' cannot compare with the regular expression {value}")


def check_unquoted(operator: str, value: str) -> None:
    """Check that a value without quotes is not a mistyped regular expression or unit, which would match wrong nodes."""
    if operator == "=~":
        if value.startswith("/") and not patterns.is_pattern(value):
            raise ValueError(f"invalid regular expression {value!r}: use /…/ without flags (ignore case: '/(?i)…/')")
        return
    if value.startswith(("=", "<", ">", "!")):
        raise ValueError(
            f"{value!r} begins with an operator (operators: {' '.join(OPERATORS)}; text: {_quoted(value)})"
        )
    if patterns.looks_like_pattern(value) or _BRACKETS.search(value):
        raise ValueError(f"{value!r} is not a regular expression: {_SLASHES}, or quote it as text: {_quoted(value)}")
    unit = misspelt_unit(value) if operator in ORDER else None
    if unit is not None:
        raise ValueError(f"unknown unit in {value!r} (did you mean '{unit}'? quote a version: {_quoted(value)})")


_SLASHES = "write one as /…/ without flags (ignore case: '/(?i)…/')"


def _quoted(value: str) -> str:
    return f"""'{value.replace("'", "''")}'"""


def check_name(name: str) -> None:
    """Check the name of a class or agent: any string but the empty one, or a `/regex/`."""
    if not name:
        raise ValueError("empty name")
    if patterns.is_pattern(name):
        patterns.check(patterns.bare(name))
    elif patterns.looks_like_pattern(name) or "~" in name:
        raise ValueError(f"{name!r} is neither a name nor a regular expression: {_SLASHES}")
    elif "," in name:
        raise ValueError(f"{name!r} is a list: give each name its own option or test")


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
    """Return the regular expression of a comparison without its slashes, or None if it has none."""
    if operator == "=~" or (operator == "!=" and patterns.is_pattern(value)):
        return patterns.bare(value)
    return None
