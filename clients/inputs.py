"""Read KEY=VALUE words as the DDL means them; everything is checked again, as a whole, before anything is sent."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from getpass import getpass
from typing import Any

from collective.clients.input_files import Sources
from collective.ddl import Action
from collective.errors import InvalidInput, UsageError
from collective.masking import MASK
from collective.suggestions import suggest

_TRUE = frozenset({"true", "yes", "y", "t", "1"})
_FALSE = frozenset({"false", "no", "n", "f", "0"})
_LONGEST = 1024 * 1024  # characters of a file: no request carries more bytes (transport.SEND_LIMIT)


def read_inputs(words: Sequence[str], action: Action, sources: Sources | None = None) -> dict[str, Any]:
    """Return the inputs that `words` give; raise UsageError or InvalidInput naming the word that is wrong.

    `sources` reads the files that they name, and those of the rest of the command line.
    """
    sources = sources or Sources()
    data = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f"'{word}': inputs are given as KEY=VALUE: {action.agent} {action.name} {_takes(action)}")
        if key not in action.inputs:
            hint = suggest(key, action.inputs, f"{action.agent} {action.name} {_takes(action)}")
            raise InvalidInput(f"there is no input '{key}': {hint}")
        shown = MASK if key in action.secrets else value
        data[key] = _convert(f"{key}={shown}", _fetch(f"{key}={shown}", value, sources), action.inputs[key])
    return data


def ask_secrets(data: Mapping[str, Any], action: Action, ask: Callable[[str], str] = getpass) -> dict[str, Any]:
    """Return `data` with the secret inputs that are required and missing: `ask` prompts for each, without echo."""
    asked = dict(data)
    for key in action.required:
        if key in action.secrets and key not in data:
            schema = action.inputs[key]
            asked[key] = _convert(f"{key}={MASK}", ask(f"{schema.get('title', key)}: "), schema)
    return asked


def _takes(action: Action) -> str:
    return f"takes {', '.join(f'{name}=…' for name in action.inputs)}" if action.inputs else "takes none"


def _fetch(word: str, value: str, sources: Sources) -> str:
    """Return the text of a value: itself, or what the file holds that `@FILE` names; `word` is for errors."""
    if not value.startswith("@"):
        return value
    if value.startswith("@@"):
        return value[1:]
    return sources.read(value[1:], word, _LONGEST, ": '@@' begins a text with '@'")


def _convert(word: str, text: str, schema: Mapping[str, Any]) -> Any:
    kinds = schema.get("type", "string")
    kind = kinds if isinstance(kinds, str) else next((name for name in kinds if name != "null"), "null")
    convert = _CONVERTERS.get(kind)
    if convert is None:
        return text
    try:
        return convert(text)
    except (ValueError, RecursionError):
        raise InvalidInput(f"{word}: is no {_SAID[kind]}") from None


def _boolean(text: str) -> bool:
    word = text.strip().lower()  # what comes from a file ends with a newline
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError(text)


def _number(text: str) -> int | float:
    if not any(sign in text for sign in ".eE"):
        return int(text)
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _of_type(kind: type) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        value = json.loads(text)
        if not isinstance(value, kind):
            raise ValueError(text)
        return value

    return convert


_CONVERTERS: Mapping[str, Callable[[str], Any]] = {
    "boolean": _boolean,
    "integer": int,
    "number": _number,
    "array": _of_type(list),
    "object": _of_type(dict),
}
_SAID = {
    "boolean": "truth value: true or false, yes or no, 1 or 0",
    "integer": "whole number",
    "number": "number",
    "array": "JSON array, such as [1, 2]",
    "object": 'JSON object, such as {"a": 1}',
}
