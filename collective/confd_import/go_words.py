"""Split an action of a Go template into words. Source: pkg.go.dev/text/template and Go's syntax of literals."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

_WORD = re.compile(
    r"""\s*(?:
        (?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
      | (?P<number>[+-]?\d+(?:\.\d+)?)(?![\w.])
      | (?P<field>\.\w+(?:\.\w+)*|\.)
      | (?P<variable>\$\w*(?:\.\w+)*)
      | (?P<sign>:=|=|\||\(|\)|,)
      | (?P<name>[A-Za-z_]\w*)
    )""",
    re.VERBOSE,
)


class NotConverted(Exception):
    """A part has no counterpart; the message says why."""


@dataclass(frozen=True)
class Word:
    """A word; `kind` is string, number, field, variable, sign or name. The text of a string has no quotes."""

    kind: str
    text: str


def words(action: str) -> list[Word]:
    """Return the words of an action. Raises NotConverted for what is not Go's syntax."""
    found, place, end = [], 0, len(action.rstrip())
    while place < end:
        match = _WORD.match(action, place)
        if match is None or not match.lastgroup:
            raise NotConverted(f"'{action[place:end].strip()}' is not understood")
        text = match[match.lastgroup]
        found.append(Word(match.lastgroup, _string(text) if match.lastgroup == "string" else text))
        place = match.end()
    return found


def _string(literal: str) -> str:
    if literal.startswith("`"):
        return literal[1:-1]
    try:
        return str(json.loads(literal))
    except ValueError:
        raise NotConverted(f"the string {literal} has an escape sequence that JSON does not have") from None
