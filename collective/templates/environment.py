"""The Jinja2 environment of templates: filters and tests for values that nodes have chosen, and confd's functions.

{{ value | shell }}         quoted for a shell
{{ value | word }}          letters, digits and . _ : @ + - only; anything else becomes _
{{ value | json }}          JSON, on one line
x is port, x is word        whether a value is a port number, or such a word; false if it is undefined
{{ fail("no members") }}    end the rendering with an error
getv, gets, getvs, exists   of confd, see `keys.py`; also get, ls, lsdir, base, dir
"""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from collections.abc import Mapping
from typing import Any, NoReturn

from jinja2 import StrictUndefined, Undefined

from collective.sandbox import Sandbox
from collective.templates.keys import Keys

_NO_WORD = re.compile(r"[^A-Za-z0-9._:@+-]")
_PORTS = range(1, 65536)


class TemplateFailed(Exception):
    """A template has called `fail`, or has a value that cannot be written."""


def environment(values: Mapping[str, Any]) -> Sandbox:
    """Return the environment of a template with these variables."""
    made = Sandbox(
        undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True, finalize=_text
    )
    made.filters |= {"shell": _shell, "word": _word, "json": _json, "base": posixpath.basename}
    made.tests |= {"port": _is_port, "word": _is_word}
    keys = Keys(values)
    made.globals |= {
        "fail": _fail,
        "get": keys.get,
        "getv": keys.getv,
        "gets": keys.gets,
        "getvs": keys.getvs,
        "exists": keys.exists,
        "ls": keys.ls,
        "lsdir": keys.lsdir,
        "base": posixpath.basename,
        "dir": posixpath.dirname,
    }
    return made


def _text(value: Any) -> Any:
    """Return what is written for the value of an expression; Python's form of a list does not belong into a file."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, int, float, Undefined)):
        return value
    kind = "None" if value is None else f"a value of the type '{type(value).__name__}'"
    raise TemplateFailed(f"an expression has {kind}, which cannot be written (use '| join' or '| json')")


def _shell(value: Any) -> str:
    return shlex.quote(str(value))


def _word(value: Any) -> str:
    return _NO_WORD.sub("_", str(value))


def _json(value: Any) -> str:
    return json.dumps(value)


def _is_port(value: Any) -> bool:
    if isinstance(value, (bool, Undefined)):
        return False
    text = str(value)
    return text.isascii() and text.isdecimal() and len(text) < 6 and int(text) in _PORTS


def _is_word(value: Any) -> bool:
    return not isinstance(value, Undefined) and str(value) != "" and not _NO_WORD.search(str(value))


def _fail(message: Any) -> NoReturn:
    raise TemplateFailed(str(message))
