"""Read KEY=VALUE words as the types in the DDL; the action's schema validates them before anything is sent."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from getpass import getpass
from typing import TYPE_CHECKING, Any

from collective.clients.input_files import Sources
from collective.errors import InvalidInput, UsageError
from collective.masking import MASK
from collective.suggestions import suggest

if TYPE_CHECKING:
    from collective.ddl import Action

_TRUE = frozenset({"true", "yes", "y", "t", "1"})
_FALSE = frozenset({"false", "no", "n", "f", "0"})
_LIMIT = 1024 * 1024  # bytes of a file; no request carries more (transport.SEND_LIMIT)


def read_inputs(words: Sequence[str], action: Action, sources: Sources | None = None) -> dict[str, Any]:
    """Return the inputs in `words`; raise UsageError or InvalidInput, naming the word, for an invalid one.

    `sources` reads the files that they name, and the other files of the same command line.
    """
    sources = sources or Sources()
    data = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f"'{word}': inputs are given as KEY=VALUE ({_takes(action)})")
        if key not in action.inputs:
            hint = suggest(key, action.inputs, _takes(action))
            raise InvalidInput(f"there is no input '{key}' ({hint})")
        shown = MASK if key in action.secrets else value
        data[key] = _convert(f"{key}={shown}", _fetch(f"{key}={shown}", value, sources), action.inputs[key])
    return data


def ask_secrets(data: Mapping[str, Any], action: Action, ask: Callable[[str], str] = getpass) -> dict[str, Any]:
    """Return `data` with the required secrets that it lacks; `ask` prompts for each without echo."""
    complete = dict(data)
    for key in action.required:
        if key in action.secrets and key not in data:
            schema = action.inputs[key]
            complete[key] = _convert(f"{key}={MASK}", ask(f"{schema.get('title', key)}: "), schema)
    return complete


def _takes(action: Action) -> str:
    inputs = ", ".join(f"{name}=…" for name in action.inputs)
    return f"{action.agent} {action.name} takes {inputs or 'no inputs'}"


def _fetch(word: str, value: str, sources: Sources) -> str:
    """Return the text of a value: the value itself, or the content of the file for `@FILE`. `word` is for errors."""
    if not value.startswith("@"):
        return value
    if value.startswith("@@"):
        return value[1:]
    return sources.read(value[1:], word, _LIMIT, " (for a value that begins with '@' type '@@')")


def _convert(word: str, text: str, schema: Mapping[str, Any]) -> Any:
    kinds = schema.get("type", "string")
    kind = kinds if isinstance(kinds, str) else next((name for name in kinds if name != "null"), "null")
    convert = _CONVERTERS.get(kind, str)
    try:
        value = convert(text)
    except (ValueError, RecursionError):
        raise InvalidInput(f"{word}: not {_EXPECTED[kind].format(items=_list_example(schema))}") from None
    _check_text(word, value)
    return value


def _check_text(word: str, value: Any) -> None:
    r"""Raise InvalidInput for half of a surrogate pair: an argument that was not UTF-8, or `\ud800` in JSON."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"{word}: not valid UTF-8") from None
    except RecursionError:
        raise InvalidInput(f"{word}: nested too deeply") from None


def _boolean(text: str) -> bool:
    word = text.strip().lower()  # the text of a file ends with a newline
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError(text)


def _number(text: str) -> int | float:
    if not any(char in text for char in ".eE"):
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


def _list_example(schema: Mapping[str, Any]) -> str:
    items = schema.get("items")
    kind = items.get("type") if isinstance(items, Mapping) else None
    return {"string": '["a", "b"]', "object": '[{"a": 1}]', "boolean": "[true, false]"}.get(str(kind), "[1, 2]")


_CONVERTERS: Mapping[str, Callable[[str], Any]] = {
    "boolean": _boolean,
    "integer": int,
    "number": _number,
    "array": _of_type(list),
    "object": _of_type(dict),
}
_EXPECTED = {
    "boolean": "a boolean (true or false, yes or no, 1 or 0)",
    "integer": "an integer",
    "number": "a number",
    "array": "a JSON array (such as {items})",
    "object": 'a JSON object (such as {{"a": 1}})',
}
