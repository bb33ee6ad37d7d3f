"""Format filters as command-line options, as a select expression and in English; options and expression parse back."""

from __future__ import annotations

import re

from collective import nodesets
from collective.errors import UsageError
from collective.filters import checks, patterns
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
    "!=": "is present and is not",
    "<": "is below",
    "<=": "is at most",
    ">": "is above",
    ">=": "is at least",
}


def to_options(condition: Filter) -> list[str]:
    """Return command-line arguments that `parse` reads back as the same filter."""
    arguments: list[str] = []
    for test in condition.facts:
        arguments += _option("-F", _fact_text(test))
    for name in condition.classes:
        arguments += _option("-C", name)
    for name in condition.agents:
        arguments += _option("-A", name)
    for name in _folded(condition.identities):
        arguments += _option("-I", name)
    if condition.select is not None:
        arguments += _option("-S", select_text(condition.select))
    return arguments


def select_text(tree: Select) -> str:
    """Return the `-S` expression that `parse` reads back as the same tree."""
    if isinstance(tree, AnyOf):
        return " or ".join(_inside(part, AnyOf) for part in tree.parts)
    if isinstance(tree, AllOf):
        return " and ".join(_inside(part, AllOf, AnyOf) for part in tree.parts)
    if isinstance(tree, Not):
        return f"not {_inside(tree.part, AllOf, AnyOf)}"
    if isinstance(tree, ClassTest):
        return _word(tree.name)
    plain = _is_unquoted(tree.operator, tree.value)
    compared = _operator(tree.operator, tree.value) + (_word(tree.value) if plain else _quoted(tree.value))
    if isinstance(tree, FactTest):
        return _name(tree.fact) + compared
    return f"{_query_text(tree.function, tree.query)}.{tree.field}{compared}"


def explain(condition: Filter) -> str:
    """Describe in English which nodes a filter selects: one line, or a heading and a line per condition."""
    lines = [_fact_english(test) for test in condition.facts]
    lines += [_presence("class", name) for name in condition.classes]
    lines += [_presence("agent", name) for name in condition.agents]
    if condition.identities:
        lines.append(_identity_english(condition))
    if condition.select is not None:
        lines.append(_english(condition.select))
    if not lines:
        return "every node"
    queries = [_query_text(function, query) for function, query in uses_data(condition)]
    if queries:
        lines.append(f"evaluated on each node: {', '.join(queries)}")
    if len(lines) == 1:
        return f"nodes where {lines[0]}"
    return "\n".join(["nodes where all of these conditions hold:", *(f"  {line}" for line in lines)])


def _option(flag: str, value: str) -> list[str]:
    # As a separate argument, a value that starts with '-' would be parsed as another option.
    return [flag + value] if value.startswith("-") else [flag, value]


def _folded(identities: tuple[str, ...]) -> list[str]:
    """Return the identities as one folded expression if it unfolds to the same order, else unchanged."""
    try:
        folded = nodesets.fold(identities)
        return [folded] if folded and tuple(nodesets.unfold(folded)) == identities else list(identities)
    except UsageError:  # one of them is a regular expression
        return list(identities)


def _fact_text(test: FactTest) -> str:
    value, operator = test.value, _operator(test.operator, test.value)
    if not value or value != value.strip() or value[0] in "'\"=<>~" or not _is_unquoted(test.operator, value):
        value = _quoted(value)
    return f"{test.fact}{operator}{value}"


def _is_unquoted(operator: str, value: str) -> bool:
    """Return whether a value keeps its meaning without quotes."""
    try:
        checks.check_unquoted(operator, value)
    except ValueError:
        return False
    return True


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
        return f"not ({_english(tree.part)})"
    if isinstance(tree, ClassTest):
        return _presence("class", tree.name)
    return _fact_english(tree) if isinstance(tree, FactTest) else _data_english(tree)


def _english_inside(tree: Select) -> str:
    return f"({_english(tree)})" if isinstance(tree, (AllOf, AnyOf)) else _english(tree)


def _fact_english(test: FactTest) -> str:
    return f"fact {test.fact} {_compared(test.operator, test.value)}"


def _data_english(test: DataTest) -> str:
    return f"{_query_text(test.function, test.query)}.{test.field} {_compared(test.operator, test.value)}"


def _query_text(function: str, query: str) -> str:
    return f"{function}({_quoted(query) if query else ''})"


def _compared(operator: str, value: str) -> str:
    expression = expression_of(operator, value)
    if expression is None:
        return f"{_WORDING[operator]} {value!r}"
    return f"{'is present and does not match' if operator == '!=' else 'matches'} /{expression}/"


def _presence(kind: str, name: str) -> str:
    if not patterns.is_pattern(name):
        return f"{kind} {name} is present"
    return f"{'a' if kind == 'class' else 'an'} {kind} matches {name}"


def _identity_english(condition: Filter) -> str:
    clauses = [f"identity matches {pattern}" for pattern in condition.identity_patterns]
    if condition.literal_identities:
        clauses.insert(0, f"identity is one of {nodesets.fold(condition.literal_identities)}")
    return " or ".join(clauses)
