"""Convert a Go template into Jinja2, action by action. What cannot be converted becomes a call of `fail`.

    {{range gets "/services/*"}}server {{base .Key}} {{.Value}}
    {{end}}

Go keeps the line ends around actions, so the tags have the signs that switch off Jinja2's trimming: `{%+ … +%}`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from collective.confd_import.expressions import Expressions, variable
from collective.confd_import.go_words import NotConverted, Word, words

_ACTION = re.compile(r"\{\{(-(?=\s))?(.*?)((?<=\s)-)?\}\}", re.DOTALL)
_COMMENT = re.compile(r"\s*/\*(.*)\*/\s*", re.DOTALL)
_JINJA = re.compile(r"\{(?=[%#])")  # text that would begin a tag or a comment
_ENDS = {"if": "endif", "range": "endfor", "with": "endwith"}


@dataclass(frozen=True)
class ConvertedTemplate:
    """The text for Jinja2, and a line for each part that was not converted."""

    text: str
    lost: tuple[str, ...]


@dataclass
class _Block:
    """An open block, what `.` stands for in it, and after its `else`."""

    kind: str
    dot: str | None
    dot_else: str | None = None


@dataclass
class _Conversion:
    """The state of a conversion: open blocks, and what was lost."""

    name: str
    expressions: Expressions
    blocks: list[_Block] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    loops: int = 0

    @property
    def dot(self) -> str | None:
        return self.blocks[-1].dot if self.blocks else None


def converted(text: str, name: str, keys: Mapping[str, str]) -> ConvertedTemplate:
    """Convert the text of the template `name`; `keys` replaces the starts of keys."""
    state = _Conversion(name, Expressions(keys))
    parts, place = [], 0
    for action in _ACTION.finditer(text):
        parts.append(_literal(text[place : action.start()]))
        line = text.count("\n", 0, action.start()) + 1
        parts.append(_action(state, action, line))
        place = action.end()
    parts.append(_literal(text[place:]))
    if state.blocks:
        state.lost.append(f"{name}: an {{{{end}}}} is missing")
    return ConvertedTemplate("".join(parts), tuple(state.lost))


def _literal(text: str) -> str:
    return _JINJA.sub("{{ '{' }}", text)


def _action(state: _Conversion, action: re.Match[str], line: int) -> str:
    left, right = "-" if action[1] else "+", "-" if action[3] else "+"
    if comment := _COMMENT.fullmatch(action[2]):
        return "{#" + left.replace("+", "") + comment[1].replace("#}", "# }") + right.replace("+", "") + "#}"
    try:
        kind, inner = _converted(state, words(action[2]))
    except NotConverted as error:
        state.lost.append(f"{state.name}:{line}: {action[0]}: {error}")
        kind, inner = "value", _failed(action[0])
    for problem in state.expressions.problems:
        state.lost.append(f"{state.name}:{line}: {problem}")
    state.expressions.problems.clear()
    if kind == "value":
        return f"{{{{{left.replace('+', '')} {inner} {right.replace('+', '')}}}}}"
    return "".join(f"{{%{left} {one} {right}%}}" for one in inner.split("\n"))


def _failed(text: str) -> str:
    return f"fail({json.dumps(f'not converted: {text}', ensure_ascii=False)})"


def _converted(state: _Conversion, found: list[Word]) -> tuple[str, str]:
    """Return `value` and an expression, or `block` and the tags, one a line."""
    first = found[0].text if found and found[0].kind == "name" else ""
    if first in _ENDS:
        return "block", _begin(state, first, found[1:])
    if first == "else":
        return "block", _else(state, found[1:])
    if first == "end":
        return "block", _end(state)
    if first in ("define", "block"):
        state.blocks.append(_Block(first, None))
    if first in ("define", "block", "template", "break", "continue"):
        raise NotConverted(f"'{first}' has no counterpart")
    if len(found) > 2 and found[0].kind == "variable" and found[1].text in (":=", "="):
        if found[1].text == "=":
            raise NotConverted("the assignment to a variable of an outer block has no counterpart")
        return "block", f"set {variable(found[0].text[1:])} = {state.expressions.converted(found[2:], state.dot)}"
    return "value", state.expressions.converted(found, state.dot)


def _begin(state: _Conversion, kind: str, found: list[Word]) -> str:
    names, condition = _declared(found)
    outer = state.dot
    try:
        value = state.expressions.converted(condition, outer)
    except NotConverted:
        state.blocks.append(_Block("lost", "lost", outer))  # its end and its else have no tags either
        raise
    if kind == "if":
        state.blocks.append(_Block(kind, outer, outer))
        return f"if {value}"
    state.loops += 1
    item = variable(names[-1]) if names else f"item{state.loops if state.loops > 1 else ''}"
    state.blocks.append(_Block(kind, item, outer))
    if kind == "with":
        return f"with {item} = {value}\nif {item}"
    if len(names) == 2:
        return f"for {item} in {value}\nset {variable(names[0])} = loop.index0"
    return f"for {item} in {value}"


def _declared(found: list[Word]) -> tuple[list[str], list[Word]]:
    """Return the variables that a range or with declares, and the expression."""
    place = next((number for number, word in enumerate(found) if word == Word("sign", ":=")), None)
    if place is None:
        return [], found
    names = [word.text[1:] for word in found[:place] if word.kind == "variable"]
    if not 1 <= len(names) <= 2:
        raise NotConverted("the variables are not understood")
    return names, found[place + 1 :]


def _else(state: _Conversion, found: list[Word]) -> str:
    if not state.blocks or state.blocks[-1].kind in ("define", "block", "lost"):
        raise NotConverted("its block was not converted")
    block = state.blocks[-1]
    block.dot = block.dot_else
    if not found:
        return "else"
    if found[0].text != "if" or block.kind != "if":
        raise NotConverted("this form of else has no counterpart")
    return f"elif {state.expressions.converted(found[1:], state.dot)}"


def _end(state: _Conversion) -> str:
    if not state.blocks:
        raise NotConverted("it has no beginning")
    kind = state.blocks.pop().kind
    if kind == "with":
        return "endif\nendwith"
    if kind not in _ENDS:
        raise NotConverted("its block was not converted")
    return _ENDS[kind]
