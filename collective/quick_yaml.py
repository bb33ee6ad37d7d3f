"""Read YAML files that consist of keys and words, without importing PyYAML, which takes 10 ms.

    collective: production      # a key and a word, a number, `true` or `false`, or text in quotes without escapes
    groups:
      web:                      # mappings, by their indentation
        filter: role=web
    ddls:
    - ddl                       # lists of the same

`plain_yaml` returns what `yaml_file` would, or None for what it does not know and for every mistake. `read_quickly`
then asks `yaml_file`, which also describes the mistake.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

_MOST_LEVELS = 20
_LATER = r"[\w/.~@+=%*,-]"  # a character of a word, but not the first one
_WORD = rf"[A-Za-z0-9_/](?:{_LATER}|:(?=[\w/])| +(?={_LATER}))*"
_QUOTED = r"'[ -&(-\[\]-~]*'|\"[ !#-\[\]-~]*\""
_COMMENT = "(?:(?<![^ ])#.*)?"  # after a space, or in a line of its own
_LINE = re.compile(
    r"(?P<indent> *)(?:(?P<dash>-) +|(?P<key>[A-Za-z_][\w.@/-]{0,60}):(?: +|$))?"
    rf"(?P<value>{_WORD}|{_QUOTED})? *{_COMMENT}",
    re.ASCII,
)
_INTEGER = re.compile(r"0|[1-9][0-9]{0,17}")
_DECIMAL = re.compile(r"(?:0|[1-9][0-9]{0,8})\.[0-9]{1,9}")
_NUMBER_LIKE = re.compile(r"[0-9.eE]+")
_CONSTANTS = {"true": True, "false": False}
_OTHER_CONSTANTS = frozenset({"true", "false", "null"})  # in other cases than those of _CONSTANTS


class _NotPlain(Exception):
    """A text needs more of YAML than is known here."""


class _Line(NamedTuple):
    indent: int
    key: str | None  # None: an item of a list
    value: str | None


def read_quickly(path: Path) -> Any:
    """Return the content of a YAML file; raise ConfigError naming the file, and line and column if known."""
    with suppress(OSError, UnicodeDecodeError):
        found = plain_yaml(path.read_bytes().decode("utf-8"))
        if found is not None:
            return found
    from collective.yaml_file import read_yaml

    return read_yaml(path)


def plain_yaml(text: str) -> dict[str, Any] | None:
    """Return the mapping in a text; None if it may be anything else."""
    try:
        found = list(_lines(text))
        if not found or found[0].indent or found[0].key is None:
            return None
        value, end = _mapping(found, 0, 0)
        return value if end == len(found) else None
    except _NotPlain:
        return None


def _lines(text: str) -> Iterator[_Line]:
    for line in text.split("\n"):
        found = _LINE.fullmatch(line)
        if found is None or not line.isprintable():
            raise _NotPlain
        if found["dash"] or found["key"]:
            yield _Line(len(found["indent"]), found["key"], found["value"])
        elif found["value"]:
            raise _NotPlain


def _mapping(lines: list[_Line], at: int, level: int) -> tuple[dict[str, Any], int]:
    """Return the mapping that begins at a line, and the number of the line after it."""
    if level > _MOST_LEVELS:
        raise _NotPlain
    indent, found = lines[at].indent, {}
    while at < len(lines) and lines[at].indent == indent:
        _, key, value = lines[at]
        if key is None or key in found or key.lower() in _OTHER_CONSTANTS:
            raise _NotPlain
        at += 1
        if value is not None:
            found[key] = _scalar(value)
        else:
            found[key], at = _below(lines, at, indent, level)
    return found, at


def _below(lines: list[_Line], at: int, indent: int, level: int) -> tuple[Any, int]:
    """Return the list or mapping of a key that has `indent`, and the number of the line after it."""
    if at == len(lines) or lines[at].indent < indent + (lines[at].key is not None):
        raise _NotPlain
    return _mapping(lines, at, level + 1) if lines[at].key is not None else _list(lines, at)


def _list(lines: list[_Line], at: int) -> tuple[list[Any], int]:
    """Return the list that begins at a line, and the number of the line after it."""
    indent, found = lines[at].indent, []
    while at < len(lines) and lines[at].key is None and lines[at].indent == indent:
        value = lines[at].value
        if value is None:
            raise _NotPlain
        found.append(_scalar(value))
        at += 1
    return found, at


def _scalar(word: str) -> Any:
    if word[0] in "'\"":
        return word[1:-1]
    if word in _CONSTANTS:
        return _CONSTANTS[word]
    if _INTEGER.fullmatch(word):
        return int(word)
    if _DECIMAL.fullmatch(word):
        return float(word)
    if _NUMBER_LIKE.fullmatch(word) or word.lower() in _OTHER_CONSTANTS:
        raise _NotPlain
    return word
