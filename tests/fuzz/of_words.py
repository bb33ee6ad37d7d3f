"""Targets for command-line values: select expressions and folded names."""

from __future__ import annotations

from collective.errors import UsageError
from collective.filters import parse, select_text
from collective.nodesets import MAX_NAMES, fold, unfold
from fuzz import Target, refusing
from fuzz.mutations import in_text

_MAX_LENGTH = 500  # bytes
_MAX_FOLDED = 100  # names; folding more is slow


def expression(data: bytes) -> None:
    """Parse a select expression; its printed form must parse to the same tree."""
    with refusing(UsageError):
        read = parse(select=data.decode("utf-8", errors="replace")).select
        assert read is not None
        assert parse(select=select_text(read)).select == read


def nodes(data: bytes) -> None:
    """Unfold names; folding and unfolding them again must give the same names."""
    with refusing(UsageError):
        names = unfold(data.decode("utf-8", errors="replace"))
        assert len(names) <= MAX_NAMES
        if len(names) <= _MAX_FOLDED:
            assert set(unfold(fold(names))) == set(names)


SELECT = Target(
    "select",
    expression,
    [b"fstat('/etc/hosts').md5=/^54f/ and not (apache or environment=production)", b"a.b>=3 or \"x y\"=~'/a b/'"],
    in_text(
        "and", "or", "not", "!", "(", ")", "'", '"', "/", "\\", "=", "=~", "<=", "!=", ".md5", "fact(a).value", "{9"
    ),
    _MAX_LENGTH,
)
NODESET = Target(
    "nodes",
    nodes,
    [b"web[01-20].my.net,db3,r[1-2,5]n[08-11]"],
    in_text("[", "]", "-", ",", "01", "9999", "99999", "[1-3]", "[0-9]", " ", "\u0661"),
    _MAX_LENGTH,
)
