"""Read the options that say which nodes are meant: -F, -C, -A, -I, -W and -S into one Filter.

In -F the first operator splits, and the value is all that follows it; quotes around the whole of it are taken
off, as in -S. -W is split at blanks: a word with a name before an operator is a fact, any other a class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from collective.errors import UsageError
from collective.filters import checks, patterns
from collective.filters.select import OPERATOR, QUOTED, fail, operator_of, pointing_at, read_select, unquoted
from collective.filters.values import FactTest, Filter, check_size
from collective.nodesets import unfold


def parse(
    with_fact: Iterable[str] = (),
    with_class: Iterable[str] = (),
    with_agent: Iterable[str] = (),
    with_identity: Iterable[str] = (),
    with_: Iterable[str] = (),
    select: str | None = None,
) -> Filter:
    """Return the filter that the options mean together; raise UsageError, naming option and column."""
    facts = [read_fact("-F", text) for text in with_fact]
    classes = [_checked("-C", text, checks.check_name) for text in with_class]
    for word in _words(with_):
        found = OPERATOR.search(word)
        if found and found.start() > 0:
            facts.append(read_fact("-W", word))
        else:
            classes.append(_checked("-W", word, checks.check_name))
    asked = Filter(
        facts=tuple(facts),
        classes=tuple(classes),
        agents=tuple(_checked("-A", text, checks.check_name) for text in with_agent),
        identities=_identities(with_identity),
        select=None if select is None else read_select(select),
    )
    try:
        check_size(asked)
    except ValueError as error:
        raise UsageError(f"filter: {error}") from None
    return asked


def read_fact(option: str, text: str) -> FactTest:
    """Return the test that `fact=value` means; raise UsageError naming `option` and the column."""
    start = len(text) - len(text.lstrip())
    found = OPERATOR.search(text)
    if found is None:
        fail(option, text, len(text), "an operator is missing: write fact=value")
    name = text[start : found.start()].rstrip()
    if not name:
        fail(option, text, found.start(), "the name of a fact is missing before the operator")
    value = text[found.end() :].strip()
    if not value:
        fail(option, text, found.end(), f"a value is missing after '{found[0]}'")
    if value[0] in "'\"":
        if not QUOTED.fullmatch(value):
            at = text.index(value, found.end())
            fail(option, text, at, "a quote is not closed, or closed before the end")
        value = unquoted(value)
    test = FactTest(name, operator_of(found[0], value), value)
    with pointing_at(option, text, start):
        checks.check_fact(test.fact, test.operator, test.value)
    return test


def _words(given: Iterable[str]) -> list[str]:
    words: list[str] = []
    for text in given:
        if not text.split():  # to ask for nothing would be to mean every node
            fail("-W", text, 0, "a fact or a class is missing")
        words += text.split()
    return words


def _identities(given: Iterable[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for text in given:
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
