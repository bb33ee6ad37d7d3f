"""What people type: select expressions, and folded names."""

from __future__ import annotations

from collective.errors import UsageError
from collective.filters import parse, select_text
from collective.nodesets import MAX_NAMES, fold, unfold
from fuzz import Target, refusing
from fuzz.mutations import in_text

_LONGEST = 500  # bytes that anybody types
_MANY = 100  # names; folding more is done, and takes its time


def expression(data: bytes) -> None:
    """Read a select expression; what it is printed as means the same."""
    with refusing(UsageError):
        read = parse(select=data.decode("utf-8", errors="replace")).select
        assert read is not None
        assert parse(select=select_text(read)).select == read


def nodes(data: bytes) -> None:
    """Unfold names; folded again they are the same."""
    with refusing(UsageError):
        names = unfold(data.decode("utf-8", errors="replace"))
        assert len(names) <= MAX_NAMES
        if len(names) <= _MANY:
            assert set(unfold(fold(names))) == set(names)


SELECT = Target(
    "select",
    expression,
    [b"fstat('/etc/hosts').md5=/^54f/ and not (apache or environment=production)", b"a.b>=3 or \"x y\"=~'/a b/'"],
    in_text(
        "and", "or", "not", "!", "(", ")", "'", '"', "/", "\\", "=", "=~", "<=", "!=", ".md5", "fact(a).value", "{9"
    ),
    _LONGEST,
)
NODESET = Target(
    "nodes",
    nodes,
    [b"web[01-20].my.net,db3,r[1-2,5]n[08-11]"],
    in_text("[", "]", "-", ",", "01", "9999", "99999", "[1-3]", "[0-9]", " ", "\u0661"),
    _LONGEST,
)
