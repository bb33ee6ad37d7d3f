"""Expressions of playbooks: Jinja2 in a sandbox, compiled when the file is read.

    when: steps.drain.ok | length > 0          an expression: `expression(text, place)`
    body: "{{ inputs.service }} is back"       a value whose strings have expressions: `value(value, place)`

A string that is one expression and nothing else has the value of the expression: '{{ steps.drain.ok }}' is a list.
Undefined variables are errors. `members` and `names` are what an expression uses, so that it can be checked before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import StrictUndefined, TemplateError, Undefined, meta, nodes
from jinja2.parser import Parser
from jinja2.sandbox import safe_range

from collective.clients.playbooks.source import SourcePlace
from collective.errors import UsageError
from collective.nodesets import fold_any
from collective.sandbox import Sandbox, problem, time_limited, written

MOST_TEXT = 1024 * 1024  # characters that a string with expressions has
_MARKS = re.compile(r"\{\{|\{%|\{#")
_DOTTED = ("inputs", "steps", "vars")  # the names whose members are known before


@dataclass(frozen=True)
class PlaybookExpression:
    """One expression. `names` are the variables that it uses, `members` the members of `inputs`, `steps` and `vars`.

    `whole` are those of the three of which it uses more than members with a constant name.
    """

    text: str
    place: SourcePlace
    names: frozenset[str]
    members: frozenset[tuple[str, str]]
    whole: frozenset[str]
    evaluate: Callable[[Mapping[str, Any]], Any]

    def value(self, values: Mapping[str, Any]) -> Any:
        """Return the value; raise UsageError, naming file and line, if it has none."""
        try:
            return self.evaluate(values)
        except Exception as error:
            raise UsageError(f"{self.place}: '{self.text}': {problem(error)}") from None


def expression(text: str, place: SourcePlace) -> PlaybookExpression:
    """Return an expression without braces; raise ConfigError, naming file and line, for a syntax error."""
    if _MARKS.search(text):
        raise place.error(f"'{text}': a condition is an expression already (remove the braces)")
    return _compiled(text, place, text)


def value(given: Any, place: SourcePlace) -> Any:
    """Return a value of the file with its strings that have expressions compiled. Raises ConfigError."""
    if isinstance(given, Mapping):
        return {key: value(part, place.at(key)) for key, part in given.items()}
    if isinstance(given, list):
        return [value(part, place.at(number)) for number, part in enumerate(given)]
    if isinstance(given, str) and _MARKS.search(given):
        return _text(given, place)
    return given


def expressions(compiled: Any) -> Iterator[PlaybookExpression]:
    """Yield the expressions in a value."""
    if isinstance(compiled, PlaybookExpression):
        yield compiled
    elif isinstance(compiled, Mapping):
        for part in compiled.values():
            yield from expressions(part)
    elif isinstance(compiled, list):
        for part in compiled:
            yield from expressions(part)


def resolved(compiled: Any, values: Mapping[str, Any]) -> Any:
    """Return a value with its expressions evaluated. Raises UsageError."""
    if isinstance(compiled, PlaybookExpression):
        return compiled.value(values)
    if isinstance(compiled, Mapping):
        return {key: resolved(part, values) for key, part in compiled.items()}
    if isinstance(compiled, list):
        return [resolved(part, values) for part in compiled]
    return compiled


def secret(name: str) -> Undefined:
    """Return what stands for a value that was not saved because it is secret: its use is an error."""
    return StrictUndefined(hint=f"'{name}' is secret, and secrets are not saved: run the playbook again from its start")


def _text(source: str, place: SourcePlace) -> PlaybookExpression:
    """Return a string with expressions."""
    try:
        tree = environment().parse(source)
    except TemplateError as error:
        raise place.error(f"'{source}': {problem(error)}") from None
    if (single := _single(tree)) is not None:
        return _compiled(source.strip()[2:-2].strip("-+").strip(), place, source, single)
    try:
        template = environment().from_string(source)
    except TemplateError as error:  # such as an unknown filter
        raise place.error(f"'{source}': {problem(error)}") from None
    return _described(tree, place, source, lambda values: written(template, values, MOST_TEXT))


def _single(tree: nodes.Template) -> nodes.Node | None:
    """Return the expression of a template that has nothing else."""
    if len(tree.body) != 1 or not isinstance(tree.body[0], nodes.Output):
        return None
    parts = tree.body[0].nodes
    return parts[0] if len(parts) == 1 and not isinstance(parts[0], nodes.TemplateData) else None


def _compiled(text: str, place: SourcePlace, shown: str, tree: nodes.Node | None = None) -> PlaybookExpression:
    try:
        found = tree or Parser(environment(), text, state="variable").parse_expression()
        compiled = environment().compile_expression(text, undefined_to_none=False)
    except TemplateError as error:
        raise place.error(f"'{shown}': {problem(error)}") from None
    return _described(found, place, shown, lambda values: _evaluated(compiled, values))


def _described(
    tree: nodes.Node, place: SourcePlace, shown: str, evaluate: Callable[[Mapping[str, Any]], Any]
) -> PlaybookExpression:
    whole = tree if isinstance(tree, nodes.Template) else nodes.Template([nodes.Output([tree])])
    whole.set_environment(environment())
    names = meta.find_undeclared_variables(whole) - environment().globals.keys()
    members = frozenset(_members(whole))
    dotted = {id(part) for part in _constant_members(whole)}
    others = {part.name for part in whole.find_all(nodes.Name) if part.name in _DOTTED and id(part) not in dotted}
    return PlaybookExpression(shown, place, frozenset(names), members, frozenset(others), evaluate)


def _members(tree: nodes.Node) -> Iterator[tuple[str, str]]:
    """Yield the members with a constant name of `inputs`, `steps` and `vars`."""
    for part in _accesses(tree):
        if isinstance(part.node, nodes.Name) and part.node.name in _DOTTED and (name := _constant(part)):
            yield part.node.name, name


def _constant_members(tree: nodes.Node) -> Iterator[nodes.Node]:
    for part in _accesses(tree):
        if isinstance(part.node, nodes.Name) and _constant(part):
            yield part.node


def _accesses(tree: nodes.Node) -> Iterator[nodes.Getattr | nodes.Getitem]:
    yield from tree.find_all(nodes.Getattr)
    yield from tree.find_all(nodes.Getitem)


def _constant(part: nodes.Getattr | nodes.Getitem) -> str:
    if isinstance(part, nodes.Getattr):
        return part.attr
    return str(part.arg.value) if isinstance(part.arg, nodes.Const) else ""


def _evaluated(compiled: Callable[..., Any], values: Mapping[str, Any]) -> Any:
    with time_limited():
        return _defined(compiled(**values))


def _defined(found: Any) -> Any:
    if isinstance(found, Undefined):
        found._fail_with_undefined_error()  # noqa: SLF001 - the way to raise its message
    return list(found) if isinstance(found, Iterator) else found


@cache
def environment() -> Sandbox:
    """Return the environment of all expressions."""
    found = Sandbox(undefined=StrictUndefined, keep_trailing_newline=True, finalize=_written_value)
    found.globals = {"range": safe_range}
    found.filters["fold"] = lambda names: fold_any(list(names))
    return found


def _written_value(found: Any) -> Any:
    """Return a value as it is written within a string: strings as they are, others as JSON."""
    if isinstance(found, (str, Undefined)):
        return found
    return json.dumps(found, ensure_ascii=False, default=list)
