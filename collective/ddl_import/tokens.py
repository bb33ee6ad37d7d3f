"""Split a DDL in Ruby into words. Only what DDLs contain is understood: literals, names and punctuation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from collective.errors import DDLError

_PATTERNS = (
    ("space", r"[ \t\r]+|\\\n"),
    ("comment", r"#[^\n]*"),
    ("newline", r"[\n;]"),
    ("heredoc", r"<<[-~]?['\"]?(\w+)['\"]?"),
    ("words", r"%[wi]([\[({<])(?:[^\])}>]*)[\])}>]"),
    ("percent", r"%[qQ]?([\[({|])(?:[^\])}|]*)[\])}|]"),
    ("string", r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"),
    ("regex", r"/(?:[^/\\\n]|\\.)+/[imx]*"),
    ("symbol", r":(?:[A-Za-z_]\w*[?!]?|\"[^\"]*\")"),
    ("key", r"[A-Za-z_]\w*:(?![:\w])"),
    ("number", r"-?\d[\d_]*(?:\.\d+)?"),
    ("name", r"[A-Za-z_]\w*[?!]?"),
    ("mark", r"=>|&&|\|\||[-=(){}\[\],|.:?!<>+*&]"),
)
_WORD = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _PATTERNS), re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "e": "\x1b", "0": "\0", "s": " "}


@dataclass(frozen=True)
class Token:
    """One word: `kind` is string, symbol, key, number, name, words, mark or newline. `line` counts from 1."""

    kind: str
    value: Any
    line: int


def tokens(text: str) -> list[Token]:
    """Return the words of a file. Raises DDLError with the line of what is not understood."""
    return list(_tokens(text))


def _tokens(text: str) -> Iterator[Token]:
    place, line = 0, 1
    while place < len(text):
        found = _WORD.match(text, place)
        if found is None:
            raise DDLError(f"line {line}: cannot be read: '{text[place : place + 20]}'")
        kind, word = str(found.lastgroup), found.group()
        place = found.end()
        if kind == "heredoc":
            ended = re.compile(rf"^[ \t]*{re.escape(re.sub(r'[^A-Za-z0-9_]', '', word))}[ \t\r]*$", re.MULTILINE)
            end = ended.search(text, place)
            if end is None:
                raise DDLError(f"line {line}: '{word}' has no end")
            body = text[place : end.start()]
            yield Token("string", body.strip("\n"), line)
            yield Token("newline", "\n", line)
            line += body.count("\n")
            place = end.end()
            continue
        if kind not in ("space", "comment"):
            yield Token(_kind(kind), _value(kind, word), line)
        line += word.count("\n")


def _kind(kind: str) -> str:
    return {"percent": "string", "regex": "code"}.get(kind, kind)


def _value(kind: str, word: str) -> Any:
    if kind == "string":
        return _unescaped(word)
    if kind == "percent":
        return word[word.index(word.lstrip("%qQ")[0]) + 1 : -1]
    if kind == "words":
        return word[3:-1].split()
    if kind == "symbol":
        return word[1:].strip('"')
    if kind == "key":
        return word[:-1]
    if kind == "number":
        plain = word.replace("_", "")
        return float(plain) if "." in plain else int(plain)
    return word


def _unescaped(word: str) -> str:
    body = word[1:-1]
    if word[0] == "'":
        return re.sub(r"\\([\\'])", r"\1", body)
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), body, flags=re.DOTALL)
