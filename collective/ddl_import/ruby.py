"""Read a DDL in Ruby as data, and return it in Choria's form. Ruby code is not run: what is not data is listed.

metadata :name => "puppet", …                              document["metadata"]
action "enable", :description => "…" do … end              document["actions"]
["start", "stop"].each do |act| action act, … do … end     one action for each value
dataquery :description => "…" do … end                     document["dataquery"]
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from collective.ddl_import.tokens import Token, tokens
from collective.errors import DDLError

_LITERALS = {"true": True, "false": False, "nil": None}
_OPENING = frozenset({"do", "if", "unless", "case", "def", "begin", "while", "until", "class", "module"})
_INTERPOLATED = re.compile(r"#\{([^}]*)\}")


class Symbol(str):
    """A Ruby symbol, such as the name of a validator: a string in quotes is a regular expression instead."""

    __slots__ = ()


class NotData(Exception):
    """A part of the file is code."""


def parse(text: str) -> tuple[dict[str, Any], list[str]]:
    """Return a DDL in Choria's form, and a line for each statement that is code.

    Raises DDLError for a text that has no `metadata`, or whose blocks are not closed.
    """
    reader = _Reader(tokens(text))
    reader.block({}, None)
    if "metadata" not in reader.document:
        raise DDLError("no 'metadata' found: not a DDL of MCollective")
    return reader.document, reader.lost


class _Reader:
    def __init__(self, words: list[Token]) -> None:
        self._words = words
        self._place = 0
        self.document: dict[str, Any] = {"actions": []}
        self.lost: list[str] = []

    def block(self, variables: Mapping[str, Any], target: dict[str, Any] | None) -> None:
        """Read statements until the matching `end`, or until the end of the file if there is no `target`."""
        while True:
            while (word := self._peek()) is not None and word.kind == "newline":
                self._place += 1
            if word is None:
                if target is not None:
                    raise DDLError("a block has no 'end'")
                return
            if (word.kind, word.value) == ("name", "end"):
                self._place += 1
                if target is None:
                    raise DDLError(f"line {word.line}: 'end' without a block")
                return
            self._statement(word, variables, target)

    def _statement(self, word: Token, variables: Mapping[str, Any], target: dict[str, Any] | None) -> None:
        start = self._place
        try:
            if word.kind in ("mark", "words"):
                self._each(variables, target)
            elif (word.kind, word.value) == ("name", "if"):
                self._place += 1
                self._condition(variables, target)
            elif word.kind == "name":
                self._place += 1
                self._command(word.value, variables, target)
            else:
                raise NotData
        except NotData:
            self._place = start
            self._skip()
            self.lost.append(f"line {word.line}: '{word.value}' begins Ruby code, which was omitted")

    def _command(self, name: str, variables: Mapping[str, Any], target: dict[str, Any] | None) -> None:
        arguments, options = self._arguments(variables)
        if name == "metadata" and target is None:
            self.document["metadata"] = options
        elif name == "action" and arguments:
            made = {"action": str(arguments[0]), **options, "input": {}, "output": {}}
            self.document["actions"].append(made)
            self._optional_block(variables, made)
        elif name == "dataquery":
            self.document["dataquery"] = made = {**options, "input": {}, "output": {}}
            self._optional_block(variables, made)
        elif name in ("input", "output") and target is not None and arguments:
            target[name][str(arguments[0])] = options
        elif name == "display" and target is not None and arguments:
            target["display"] = str(arguments[0])
        elif name == "summarize" and target is not None:
            self._optional_block(variables, target)
        elif name == "aggregate" and target is not None and arguments:
            target.setdefault("aggregate", []).append(arguments[0])
        elif name in ("requires", "usage", "capabilities"):
            return
        else:
            raise NotData

    def _optional_block(self, variables: Mapping[str, Any], target: dict[str, Any]) -> None:
        if self._take("name", "do"):
            self.block(variables, target)

    def _each(self, variables: Mapping[str, Any], target: dict[str, Any] | None) -> None:
        """Read `[…].each do |name| … end` once for each value."""
        values = self._value(variables)
        if not (isinstance(values, list) and self._take("mark", ".") and self._take("name", "each")):
            raise NotData
        if not (self._take("name", "do") and self._take("mark", "|")):
            raise NotData
        variable = self._next()
        if variable.kind != "name" or not self._take("mark", "|"):
            raise NotData
        start = self._place
        for value in values:
            self._place = start
            self.block({**variables, variable.value: value}, target if target is not None else {})

    def _condition(self, variables: Mapping[str, Any], target: dict[str, Any] | None) -> None:
        """Read `if act == "install" … end` in a block for several values, and `if respond_to?(:summarize)`."""
        left = self._value(variables)
        if isinstance(left, Mapping) and left.get("function") == "respond_to?" and target is not None:
            self.block(variables, target)
            return
        if not (self._take("mark", "=") and self._take("mark", "=")):
            raise NotData
        right = self._value(variables)
        if not self._is("newline", "\n") or target is None:
            raise NotData
        self.block(variables, target if left == right else {"input": {}, "output": {}})

    def _arguments(self, variables: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments of a command until the end of its line: values, and options by name."""
        bracketed = self._take("mark", "(")
        arguments: list[Any] = []
        options: dict[str, Any] = {}
        while (word := self._peek()) is not None:
            if bracketed and word.kind == "newline":
                self._place += 1
                continue
            if word.kind == "newline" or (word.kind, word.value) in (("name", "do"), ("mark", ")")):
                break
            self._argument(variables, arguments, options)
            if not self._take("mark", ","):
                break
            self._skip_newlines()
        if bracketed:
            self._skip_newlines()
            if not self._take("mark", ")"):
                raise NotData
        word = self._peek()
        if word is not None and word.kind != "newline" and (word.kind, word.value) not in _ENDS:
            raise NotData
        return arguments, options

    def _argument(self, variables: Mapping[str, Any], arguments: list[Any], options: dict[str, Any]) -> None:
        word = self._peek()
        if word is not None and word.kind == "key":
            self._place += 1
            self._skip_newlines()
            options[word.value] = self._value(variables)
            return
        value = self._value(variables)
        if self._take("mark", "=>"):
            self._skip_newlines()
            options[str(value)] = self._value(variables)
        else:
            arguments.append(value)

    def _value(self, variables: Mapping[str, Any]) -> Any:
        word = self._next()
        if word.kind == "symbol":
            return Symbol(word.value)
        if word.kind == "number" and self._take("mark", "*"):
            return word.value * self._value(variables)
        if word.kind in ("number", "words"):
            return word.value
        if word.kind == "string":
            return self._interpolated(word, variables)
        if word.kind == "mark" and word.value in "[{":
            return self._list(variables) if word.value == "[" else self._mapping(variables)
        if word.kind == "name":
            return self._named(word, variables)
        raise NotData

    def _interpolated(self, word: Token, variables: Mapping[str, Any]) -> str:
        """Return a string with `#{name}` and `#{name.capitalize}` replaced; other methods are listed and ignored."""

        def value(found: re.Match[str]) -> str:
            name, _, method = found[1].strip().partition(".")
            if name not in variables:
                raise NotData
            text = str(variables[name])
            changed = {"": text, "to_s": text, "capitalize": text.capitalize(), "upcase": text.upper()}
            if method not in changed:
                self.lost.append(f"line {word.line}: the Ruby code '{found[1]}' in a string (it has '{text}' instead)")
            return changed.get(method, text)

        return _INTERPOLATED.sub(value, word.value)

    def _named(self, word: Token, variables: Mapping[str, Any]) -> Any:
        if word.value in _LITERALS:
            return _LITERALS[word.value]
        if word.value in variables:
            return variables[word.value]
        if (after := self._peek()) is not None and (after.kind, after.value) == ("mark", "("):
            arguments, options = self._arguments(variables)
            return {"function": word.value, "args": [*arguments, *([options] if options else [])]}
        raise NotData

    def _list(self, variables: Mapping[str, Any]) -> list[Any]:
        found: list[Any] = []
        while True:
            self._skip_newlines()
            if self._take("mark", "]"):
                return found
            found.append(self._value(variables))
            self._skip_newlines()
            if not self._take("mark", ",") and not self._is("mark", "]"):
                raise NotData

    def _mapping(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while True:
            self._skip_newlines()
            if self._take("mark", "}"):
                return found
            positional: list[Any] = []
            self._argument(variables, positional, found)
            self._skip_newlines()
            if positional or (not self._take("mark", ",") and not self._is("mark", "}")):
                raise NotData

    def _skip(self) -> None:
        """Skip a statement that is code, with its block."""
        depth = 0
        while (word := self._peek()) is not None:
            first = self._place == 0 or self._words[self._place - 1].kind == "newline"
            if word.kind == "newline" and depth == 0 and self._words[self._place - 1].value != ",":
                return
            if word.kind == "name" and (word.value == "do" or (word.value in _OPENING and first)):
                depth += 1
            if (word.kind, word.value) == ("name", "end"):
                if depth == 0:
                    return
                depth -= 1
            self._place += 1

    def _peek(self) -> Token | None:
        return self._words[self._place] if self._place < len(self._words) else None

    def _next(self) -> Token:
        word = self._peek()
        if word is None:
            raise NotData
        self._place += 1
        return word

    def _is(self, kind: str, value: str) -> bool:
        word = self._peek()
        return word is not None and (word.kind, word.value) == (kind, value)

    def _take(self, kind: str, value: str) -> bool:
        """Move past a word if it is the next one."""
        found = self._is(kind, value)
        self._place += found
        return found

    def _skip_newlines(self) -> None:
        while (word := self._peek()) is not None and word.kind == "newline":
            self._place += 1


_ENDS = frozenset({("name", "do"), ("name", "end"), ("mark", ")"), ("mark", "]"), ("mark", "}"), ("mark", ",")})
