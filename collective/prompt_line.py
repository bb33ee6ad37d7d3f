"""The line of a node for shell prompts: `acme production web`.

Facts come from files and commands, and a prompt is expanded by the shell. So only letters, digits and a few characters
without a meaning for bash, zsh and terminals are kept; each other one is replaced by `_`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from collective.filters.paths import look_up

MAX_VALUE = 32  # characters of a value
MAX_LINE = 100  # characters of a line that was read, as in conf/prompt.sh
_OTHER = re.compile(r"[^A-Za-z0-9._:@/+-]", re.ASCII)


def prompt_line(facts: Mapping[str, Any], names: Iterable[str]) -> str:
    """Return the values of some facts, separated by spaces; a missing one is skipped."""
    return " ".join(_values(facts, names))


def harmless(line: str) -> str:
    """Return a line as the shells show it: the file may come from another program."""
    return " ".join(_OTHER.sub("_", word) for word in line[:MAX_LINE].split(" "))


def _values(facts: Mapping[str, Any], names: Iterable[str]) -> Iterator[str]:
    for name in names:
        value = look_up(facts, name)
        if isinstance(value, str | int | float) and str(value):
            yield _OTHER.sub("_", str(value)[:MAX_VALUE])
