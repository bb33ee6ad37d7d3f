"""Write filters for people: as options that mean the same again, as a select expression, and in English."""

from __future__ import annotations

import re

from collective import nodesets
from collective.errors import UsageError
from collective.filters import patterns
from collective.filters.checks import expression_of
from collective.filters.match import uses_data
from collective.filters.select import KEYWORDS, SLASHED
from collective.filters.values import (
    AllOf,
    AnyOf,
    ClassTest,
    DataTest,
    FactTest,
    Filter,
    Not,
    Select,
)

_PLAIN = re.compile(r"[A-Za-z0-9_.:@%+,-]+")
_WORDING = {
    "==": "is",
    "!=": "is there and is not",
    "<": "is below",
    "<=": "is at most",
    ">": "is above",
    ">=": "is at least",
}


def to_options(asked: Filter) -> list[str]:
    """Return the words of a command line that `parse` reads as the same filter again."""
    words: list[str] = []
    for test in asked.facts:
        words += _option("-F", _fact_text(test))
    for name in asked.classes:
        words += _option("-C", name)
    for name in asked.agents:
        words += _option("-A", name)
    for name in _folded(asked.identities):
        words += _option("-I", name)
    if asked.select is not None:
        words += _option("-S", select_text(asked.select))
    return words


def select_text(tree: Select) -> str:
    """Return the expression for -S that is read as the same tree again."""
    if isinstance(tree, AnyOf):
        return " or ".join(_inside(part, AnyOf) for part in tree.parts)
    if isinstance(tree, AllOf):
        return " and ".join(_inside(part, AllOf, AnyOf) for part in tree.parts)
    if isinstance(tree, Not):
        return f"not {_inside(tree.part, AllOf, AnyOf)}"
    if isinstance(tree, ClassTest):
        return _word(tree.name)
    compared = _operator(tree.operator, tree.value) + _word(tree.value)
    if isinstance(tree, FactTest):
        return _name(tree.fact) + compared
    query = _quoted(tree.query) if tree.query else ""
    return f"{tree.function}({query}).{tree.field}{compared}"


def explain(asked: Filter) -> str:
    """Say in English which nodes a filter means: one line, or a line for each condition and a heading."""
    lines = [_fact_english(test) for test in asked.facts]
    lines += [_has("class", name) for name in asked.classes]
    lines += [_has("agent", name) for name in asked.agents]
    if asked.identities:
        lines.append(_identity_english(asked))
    if asked.select is not None:
        lines.append(_english(asked.select))
    if not lines:
        return "every node"
    questions = [f"{function}({_quoted(query) if query else ''})" for function, query in uses_data(asked)]
    if questions:
        lines.append(f"the node itself is asked: {', '.join(questions)}")
    if len(lines) == 1:
        return f"nodes where {lines[0]}"
    return "\n".join(["nodes where all of this holds:", *(f"  {line}" for line in lines)])


def _option(flag: str, value: str) -> list[str]:
    # A value that begins with '-' would be read as an option of its own.
    return [flag + value] if value.startswith("-") else [flag, value]


def _folded(identities: tuple[str, ...]) -> list[str]:
    """Return the identities in fewer words, when nothing of their order is lost by that."""
    try:
        folded = nodesets.fold(identities)
        return [folded] if folded and tuple(nodesets.unfold(folded)) == identities else list(identities)
    except UsageError:  # a regular expression is among them
        return list(identities)


def _fact_text(test: FactTest) -> str:
    value = test.value
    if not value or value != value.strip() or value[0] in "'\"":
        value = _quoted(value)
    operator = _operator(test.operator, test.value)
    return f"{test.fact}{operator}{_quoted(value) if value[0] in '=<>~' else value}"


def _operator(operator: str, value: str) -> str:
    if operator == "=~":
        return "=" if patterns.is_pattern(value) else "=~"
    if operator == "==":
        return "==" if patterns.is_pattern(value) else "="
    return operator


def _inside(tree: Select, *looser: type[AllOf | AnyOf]) -> str:
    return f"({select_text(tree)})" if isinstance(tree, looser) else select_text(tree)


def _name(text: str) -> str:
    return text if _PLAIN.fullmatch(text) and text not in KEYWORDS else _quoted(text)


def _word(text: str) -> str:
    closed = SLASHED.match(text)
    return text if patterns.is_pattern(text) and closed and closed[0] == text else _name(text)


def _quoted(text: str) -> str:
    quote = '"' if "'" in text and '"' not in text else "'"
    return quote + text.replace(quote, quote * 2) + quote


# -- English


def _english(tree: Select) -> str:
    if isinstance(tree, AnyOf):
        return " or ".join(_english_inside(part) for part in tree.parts)
    if isinstance(tree, AllOf):
        return " and ".join(_english_inside(part) for part in tree.parts)
    if isinstance(tree, Not):
        return f"it is not so that {_english_inside(tree.part)}"
    if isinstance(tree, ClassTest):
        return _has("class", tree.name)
    return _fact_english(tree) if isinstance(tree, FactTest) else _data_english(tree)


def _english_inside(tree: Select) -> str:
    return f"({_english(tree)})" if isinstance(tree, (AllOf, AnyOf)) else _english(tree)


def _fact_english(test: FactTest) -> str:
    return f"fact {test.fact} {_compared(test.operator, test.value)}"


def _data_english(test: DataTest) -> str:
    query = _quoted(test.query) if test.query else ""
    return f"{test.field} of {test.function}({query}) {_compared(test.operator, test.value)}"


def _compared(operator: str, value: str) -> str:
    expression = expression_of(operator, value)
    if expression is None:
        return f"{_WORDING[operator]} {value!r}"
    return f"{'is there and does not match' if operator == '!=' else 'matches'} /{expression}/"


def _has(kind: str, name: str) -> str:
    return (
        f"{'a' if kind == 'class' else 'an'} {kind} matches {name}"
        if patterns.is_pattern(name)
        else f"{kind} {name} is there"
    )


def _identity_english(asked: Filter) -> str:
    said = [f"the identity matches {pattern}" for pattern in asked.identity_patterns]
    if asked.literal_identities:
        said.insert(0, f"the identity is among {nodesets.fold(asked.literal_identities)}")
    return " or ".join(said)
