"""Parse the target options -F, -C, -A, -I, -W and -S into one Filter.

-F is split at its first operator; quotes around the whole value are removed, as in -S. -W is split at whitespace: a
word with an operator after a name is a fact, any other a class.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from collective.errors import UsageError
from collective.filters import checks, patterns
from collective.filters.select import OPERATOR, QUOTED, fail, operator_of, pointing_at, read_select, unquoted
from collective.filters.values import FactTest, Filter, check_size
from collective.nodesets import unfold

_QUOTED_KEY_OR_OPERATOR = re.compile(rf"""(?<![^\s.])"(?:[^"]|"")*"(?=[\s.=<>!])|(?P<operator>{OPERATOR.pattern})""")


def parse(
    with_fact: Iterable[str] = (),
    with_class: Iterable[str] = (),
    with_agent: Iterable[str] = (),
    with_identity: Iterable[str] = (),
    with_: Iterable[str] = (),
    select: str | None = None,
) -> Filter:
    """Return the filter for all options together; raise UsageError naming option and column."""
    facts = [read_fact("-F", text) for text in with_fact]
    classes = [_checked("-C", text, checks.check_name) for text in with_class]
    for word in _words(with_):
        found = find_operator(word)
        if found and found.start() > 0:
            facts.append(read_fact("-W", word))
        else:
            classes.append(_checked("-W", word, checks.check_name))
    parsed = Filter(
        facts=tuple(facts),
        classes=tuple(classes),
        agents=tuple(_checked("-A", text, checks.check_name) for text in with_agent),
        identities=_identities(with_identity),
        select=None if select is None else read_select(select),
    )
    try:
        check_size(parsed)
    except ValueError as error:
        raise UsageError(f"filter: {error}") from None
    return parsed


def read_fact(option: str, text: str) -> FactTest:
    """Parse `fact=value`; raise UsageError naming `option` and the column."""
    start = len(text) - len(text.lstrip())
    found = find_operator(text)
    if found is None:
        fail(option, text, len(text), "missing operator (use fact=value)")
    name = text[start : found.start()].rstrip()
    if not name:
        fail(option, text, found.start(), "missing fact name before the operator")
    value = text[found.end() :].strip()
    if not value:
        fail(option, text, found.end(), f"missing value after '{found[0]}'")
    at = text.index(value, found.end())
    if value[0] in "'\"":
        if not QUOTED.fullmatch(value):
            fail(option, text, at, "quote not closed, or text after the closing quote")
        value = unquoted(value)
    else:
        with pointing_at(option, text, at):
            checks.check_unquoted(operator_of(found[0], value), value)
    test = FactTest(name, operator_of(found[0], value), value)
    with pointing_at(option, text, at):
        checks.check_comparison(test.operator, test.value)
    with pointing_at(option, text, start):
        checks.check_fact(test.fact, test.operator, test.value)
    return test


def find_operator(text: str) -> re.Match[str] | None:
    """Return the first operator in `text` outside the quoted keys of a path."""
    return next((found for found in _QUOTED_KEY_OR_OPERATOR.finditer(text) if found["operator"]), None)


def _words(arguments: Iterable[str]) -> list[str]:
    words: list[str] = []
    for text in arguments:
        if not text.split():  # an empty filter would match every node
            fail("-W", text, 0, "missing fact or class")
        words += text.split()
    return words


def _identities(arguments: Iterable[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for text in arguments:
        if patterns.is_pattern(text):
            found[_checked("-I", text, checks.check_identity)] = None
            continue
        try:
            found.update(dict.fromkeys(unfold(text)))
        except UsageError as error:
            raise UsageError(f"-I {error}") from None
    return tuple(found)


def _checked(option: str, text: str, check: Callable[[str], None]) -> str:
    with pointing_at(option, text, 0):
        check(text)
    return text
