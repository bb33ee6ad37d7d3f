"""Parse select expressions: `fstat('/etc/hosts').md5=/^54f/ and not (apache or environment=production)`.

    either   = both { "or" both }              not binds tighter than and, and tighter than or
    both     = negation { "and" negation }
    negation = ("not" | "!") negation | "(" either ")" | test
    test     = word | /regex/                  a class
             | word operator value             a fact
             | word(query).field operator value

Single or double quotes protect whitespace, parentheses and the words and, or, not; a quote inside them is doubled.
`'/^web/'` is still a regular expression, but a quoted value is never refused because it resembles one. A regular
expression ends at the first slash before whitespace, a closing parenthesis or the end. In the path of a fact, double
quotes around a key protect its dots: `interfaces."ens1f0.4001".ip`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from collective.errors import UsageError
from collective.filters import checks, patterns
from collective.filters.values import (
    MAX_DEPTH,
    AllOf,
    AnyOf,
    ClassTest,
    DataTest,
    FactTest,
    Not,
    Select,
)

_OVER_REPLIES = ("--where", "--until")  # options whose expressions test replies and rows
KEYWORDS = frozenset({"and", "or", "not"})
OPERATOR = re.compile(r"<=|>=|=<|=>|==|=~|!=|<|>|=")
QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*\"""")
SLASHED = re.compile(r"/(?:\\.|[^\\])+?/(?=[\s)]|\Z)", re.DOTALL)

_QUOTED_KEY = r'"(?:[^"]|"")*"(?=[\s.=<>!])'
_WORD = re.compile(rf"""(?:[^\s()'"=<>!]|(?<=\.){_QUOTED_KEY})+""")
_QUOTED_PATH = re.compile(rf"""{_QUOTED_KEY}\.(?:[^\s()'"=<>!]|(?<=\.){_QUOTED_KEY})+""")
_BARE_VALUE = re.compile(r"[^\s()]+")
_KEYWORD = re.compile(r"""(and|or|not)(?=[\s()!'"]|\Z)""")
_FIELD = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)")
_BARE_QUERY = re.compile(r"""[^\s()'"]*""")
_ALIASES = {"=": "==", "=<": "<=", "=>": ">="}


def read_select(text: str, option: str = "-S") -> Select:
    """Parse the select expression of `option`; raise UsageError naming the column of the error."""
    return _SelectParser(option, text).parse()


def operator_of(written: str, value: str) -> str:
    """Return the operator for its written form: `=` before a `/regex/` is `=~`, `=>` is `>=`."""
    return "=~" if written == "=" and patterns.is_pattern(value) else _ALIASES.get(written, written)


def unquoted(text: str) -> str:
    """Return a quoted string without its quotes."""
    return text[1:-1].replace(text[0] * 2, text[0])


def fail(option: str, text: str, position: int, message: str) -> NoReturn:
    """Raise UsageError for an option's argument; `position` counts from 0, the column in the message from 1."""
    raise UsageError(f"{option} {text!r}: column {position + 1}: {message}")


@contextmanager
def pointing_at(option: str, text: str, position: int) -> Iterator[None]:
    """Turn a check's ValueError into a UsageError that names `position`."""
    try:
        yield
    except ValueError as error:
        fail(option, text, position, str(error))


class _SelectParser:
    def __init__(self, option: str, text: str) -> None:
        self._option = option
        self._text = text
        self._at = 0

    def parse(self) -> Select:
        tree = self._either(MAX_DEPTH)
        if self._at < len(self._text):
            self._fail("expected 'and' or 'or' (quote strings with whitespace or parentheses)")
        return tree

    def _either(self, levels: int) -> Select:
        parts = [self._both(levels)]
        while self._keyword("or"):
            parts.append(self._both(levels))
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def _both(self, levels: int) -> Select:
        parts = [self._negation(levels)]
        while self._keyword("and"):
            parts.append(self._negation(levels))
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def _negation(self, levels: int) -> Select:
        if levels == 0:
            self._fail(f"nested more than {MAX_DEPTH} levels deep")
        if self._take("!") or self._keyword("not"):
            return Not(self._negation(levels - 1))
        opened = self._at
        if not self._take("("):
            return self._test()
        tree = self._either(levels - 1)
        if not self._take(")"):
            self._fail(f"missing ')' for the '(' in column {opened + 1}")
        return tree

    def _test(self) -> Select:
        start = self._at
        if start == len(self._text) or self._text[start] == ")" or _KEYWORD.match(self._text, start):
            what = "field" if self._option in _OVER_REPLIES else "fact, class or data function"
            self._fail(f"missing {what}")
        if self._text[start] == "/":
            return self._class(self._slashed(), start)
        path = self._match(_QUOTED_PATH)
        quoted = not path and self._text[start] in "'\""
        word = path or (self._quoted() if quoted else self._match(_WORD))
        if not word and not quoted:
            self._fail("missing name before the operator")
        if not quoted and self._text.startswith("(", self._at):
            return self._data(word, start)
        self._skip_whitespace()
        if not OPERATOR.match(self._text, self._at):
            return self._class(word, start)
        test = FactTest(word, *self._comparison())
        with pointing_at(self._option, self._text, start):
            checks.check_fact(test.fact, test.operator, test.value)
        return test

    def _class(self, name: str, start: int) -> ClassTest:
        with pointing_at(self._option, self._text, start):
            checks.check_name(name)
        self._skip_whitespace()
        return ClassTest(name)

    def _data(self, function: str, start: int) -> DataTest:
        query = self._query()
        field = _FIELD.match(self._text, self._at)
        if field is None:
            self._fail(f"missing field (use {function}('…').field=value)")
        self._at = field.end()
        self._skip_whitespace()
        if not OPERATOR.match(self._text, self._at):
            self._fail(f"missing operator after {function}(…).{field[1]}")
        test = DataTest(function, query, field[1], *self._comparison())
        with pointing_at(self._option, self._text, start):
            checks.check_data(function, test.field, test.operator, test.value)
        return test

    def _query(self) -> str:
        opened = self._at
        self._take("(")
        query = self._quoted() if self._text[self._at : self._at + 1] in ("'", '"') else self._match(_BARE_QUERY)
        self._skip_whitespace()
        if not self._text.startswith(")", self._at):
            self._fail(f"missing ')' for the '(' in column {opened + 1} (quote the query)")
        self._at += 1
        return query

    def _comparison(self) -> tuple[str, str]:
        written = self._match(OPERATOR)
        end = self._at
        self._skip_whitespace()
        at = self._at
        first = self._text[at : at + 1]
        if first == "/":
            value = self._slashed()
        elif first in ("'", '"'):
            value = self._quoted()
        else:
            missing = _KEYWORD.match(self._text, self._at) is not None
            value = "" if missing else self._match(_BARE_VALUE)
            if not value:
                fail(self._option, self._text, end, f"missing value after '{written}'")
            with pointing_at(self._option, self._text, at):
                checks.check_unquoted(operator_of(written, value), value)
        self._skip_whitespace()
        operator = operator_of(written, value)
        with pointing_at(self._option, self._text, at):
            checks.check_comparison(operator, value)
        return operator, value

    def _slashed(self) -> str:
        return self._match(SLASHED) or self._fail("regular expression not closed (quote a string that begins with '/')")

    def _quoted(self) -> str:
        return unquoted(self._match(QUOTED) or self._fail("quote not closed"))

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            return ""
        self._at = found.end()
        return found[0]

    def _keyword(self, word: str) -> bool:
        self._skip_whitespace()
        found = _KEYWORD.match(self._text, self._at)
        if found is None or found[1] != word:
            return False
        self._at = found.end()
        self._skip_whitespace()
        return True

    def _take(self, token: str) -> bool:
        self._skip_whitespace()
        if not self._text.startswith(token, self._at):
            return False
        self._at += len(token)
        self._skip_whitespace()
        return True

    def _skip_whitespace(self) -> None:
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1

    def _fail(self, message: str) -> NoReturn:
        fail(self._option, self._text, self._at, message)
