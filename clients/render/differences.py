"""Show how the replies of some nodes differ from the most common reply, field by field and line by line.

    Version: - 1.2.3            the most common value
             + 1.2.2            the value of these nodes
     Output:   listen 80        a line that both have
             - worker 4
             + worker 8

Volatile outputs are not compared.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from collective.clients.render.formatting import in_words
from collective.clients.render.groups import ReplyGroup, Varying

STATUS = ("outcome", "statusmsg", "reason")  # members that are compared besides the outputs
_CONTEXT = 1  # unchanged lines that are shown around a change
MAX_LINES = 2000  # of a value; difflib takes a second for this number, and its time grows with the square
_ABSENT = "(absent)"


@dataclass(frozen=True)
class Difference:
    """A field with another value than the most common one; each of `lines` begins with '-', '+' or a space."""

    field: str
    usual: Any
    found: Any
    lines: list[str]


def differences(usual: ReplyGroup, other: ReplyGroup) -> list[Difference]:
    """Return the fields in which a group differs from the most common reply: status first, then outputs.

    The lines are not escaped.
    """
    before, after = compared(usual), compared(other)
    return [
        Difference(name, before.get(name), after.get(name), list(changed_lines(name, before, after)))
        for name in dict.fromkeys([*before, *after])
        if name not in before or name not in after or before[name] != after[name]
    ]


def compared(group: ReplyGroup) -> dict[str, Any]:
    """Return what is compared of a group: its status, and the outputs that are the same for all of its nodes."""
    status = {name: getattr(group.first, name) for name in STATUS}
    return {**status, **{name: value for name, value in group.values.items() if not isinstance(value, Varying)}}


def changed_lines(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a field that differ, each with '-', '+' or a space, not escaped."""
    old, new = ([_ABSENT] if name not in values else _split(values[name]) for values in (before, after))
    if len(old) <= 1 and len(new) <= 1:
        yield from (f"- {line}" for line in old or [""])
        yield from (f"+ {line}" for line in new or [""])
        return
    changes = difflib.unified_diff(*_trimmed(old[:MAX_LINES], new[:MAX_LINES]), n=_CONTEXT, lineterm="")
    for line in islice(changes, 3, None):  # without the names of files and the place of the first change
        yield "…" if line.startswith("@@") else f"{line[0]} {line[1:]}"
    if max(len(old), len(new)) > MAX_LINES:
        yield f"… only the first {MAX_LINES} lines are compared"


def _trimmed(old: list[str], new: list[str]) -> tuple[list[str], list[str]]:
    """Return both without the lines that they have in common at the start and the end, except the context."""
    most = min(len(old), len(new))
    head = next((at for at in range(most) if old[at] != new[at]), most)
    tail = next((at for at in range(most - head) if old[-1 - at] != new[-1 - at]), most - head)
    start, end = max(0, head - _CONTEXT), max(0, tail - _CONTEXT)
    return old[start : len(old) - end], new[start : len(new) - end]


def _split(value: Any) -> list[str]:
    text = in_words(value) if isinstance(value, str) or value is None else in_words(value, indent=2)
    return text.replace("\r\n", "\n").rstrip("\n").split("\n")
