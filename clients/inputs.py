"""Read KEY=VALUE words as the types in the DDL; the action's schema validates them before anything is sent."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from getpass import getpass
from typing import TYPE_CHECKING, Any

from collective.clients.input_conversion import convert
from collective.clients.input_files import Sources
from collective.clients.input_hints import expected
from collective.errors import InvalidInput, UsageError
from collective.masking import MASK
from collective.schema_types import types
from collective.suggestions import suggest

if TYPE_CHECKING:
    from collective.ddl import Action

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_LIMIT = 1024 * 1024  # bytes of a file; no request carries more (transport.SEND_LIMIT)


def read_inputs(words: Sequence[str], action: Action, sources: Sources | None = None) -> dict[str, Any]:
    """Return the inputs in `words`; raise UsageError or InvalidInput, naming the word, for an invalid one.

    An action with a single required input takes that one by position too: `crpc service restart nginx`. `sources` reads
    the files that the words name, and the other files of the same command line.
    """
    sources = sources or Sources()
    data: dict[str, Any] = {}
    positional = ""
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not _KEY.fullmatch(key):
            if positional:
                raise UsageError(f"'{word}': only one input can be given without its name ({_takes(action)})")
            key, value = _positional(word, action), word
            positional = key
        if key not in action.inputs:
            raise InvalidInput(f"there is no input '{key}' ({_unknown(word, key, action, data)})")
        shown = MASK if key in action.secrets else value
        if key in data and positional in (key, word):
            raise UsageError(f"'{key}': given by name and without its name")
        data[key] = _convert(f"{key}={shown}", _fetch(f"{key}={shown}", value, sources), key, action)
    return data


def _positional(word: str, action: Action) -> str:
    """Return the input that a word without a name is for; raise UsageError if there is none."""
    if len(action.usual) != 1 or word.startswith("="):
        raise UsageError(f"'{word}': inputs are given as KEY=VALUE ({_takes(action)})")
    return action.usual[0]


def _unknown(word: str, key: str, action: Action, data: Mapping[str, Any]) -> str:
    hint = suggest(key, action.inputs)
    if not hint and len(action.usual) == 1 and action.usual[0] not in data:
        return f"{_takes(action)}; for a value that contains '=' write {action.usual[0]}={shlex.quote(word)}"
    return hint or _takes(action)


def ask_secrets(data: Mapping[str, Any], action: Action, ask: Callable[[str], str] = getpass) -> dict[str, Any]:
    """Return `data` with the required secrets that it lacks; `ask` prompts for each without echo."""
    complete = dict(data)
    for key in action.required:
        if key in action.secrets and key not in data:
            title = action.inputs[key].get("title", key)
            complete[key] = _convert(f"{key}={MASK}", ask(f"{title}: "), key, action)
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


def _convert(word: str, text: str, key: str, action: Action) -> Any:
    schema = action.inputs[key]
    kinds = types(schema, action.input) or frozenset(["string"])
    accepts = partial(action.accepts, key)
    try:
        value = convert(text, kinds, accepts)
    except ValueError:
        shown = "" if key in action.secrets else text
        raise InvalidInput(f"{word}: not {expected(shown, kinds, schema, action.input, accepts)}") from None
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
