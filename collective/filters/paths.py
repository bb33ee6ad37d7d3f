"""Paths of facts: keys and list indexes joined by dots, such as `os.family` and `interfaces."ens1f0.4001".ip`.

Keys may contain dots: at each level the longest key that exists is tried first. A key in double quotes is taken as it
is, with a quote inside it doubled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

_STEP = re.compile(r'"((?:[^"]|"")*)"(?=\.|\Z)|([^.]*)')
_INDEX = re.compile(r"[0-9]{1,9}")
_ABSENT = object()
_KEPT = 256  # paths whose steps are kept: a filter tests the same facts of each node

Step = tuple[str, bool]  # a key or a part of one, and whether it is quoted


def look_up(facts: Mapping[str, Any], path: str) -> Any:
    """Return the fact at a path, or None. Elements of lists are addressed by index, from 0."""
    wanted = steps(path)
    if len(wanted) == 1:
        return facts.get(wanted[0][0])
    found = _look_up(facts, wanted)
    return None if found is _ABSENT else found


@lru_cache(_KEPT)
def steps(path: str) -> tuple[Step, ...]:
    """Return the steps of a path; a quoted one is a whole key."""
    found: list[Step] = []
    at = 0
    while True:
        step = _STEP.match(path, at)
        if step is None:  # never: the second alternative matches any text
            raise ValueError(path)
        quoted = step[1] is not None
        found.append((step[1].replace('""', '"') if quoted else step[2], quoted))
        at = step.end()
        if at >= len(path):
            return tuple(found)
        at += 1


def keys(wanted: Sequence[Step]) -> Iterator[tuple[str, Sequence[Step]]]:
    """Yield each key with which the steps may begin, the longest first, and the steps that remain."""
    if wanted[0][1]:
        yield wanted[0][0], wanted[1:]
        return
    length = next((at for at, (_, quoted) in enumerate(wanted) if quoted), len(wanted))
    for end in range(length, 0, -1):
        yield ".".join(text for text, _ in wanted[:end]), wanted[end:]


def _look_up(found: Any, wanted: Sequence[Step]) -> Any:
    """Return what is at the steps below `found`, or _ABSENT. Each value is visited at most once."""
    if not wanted:
        return found
    if isinstance(found, Mapping):
        for key, rest in keys(wanted):
            if key in found and (value := _look_up(found[key], rest)) is not _ABSENT:
                return value
    elif isinstance(found, (list, tuple)):
        step, quoted = wanted[0]
        if not quoted and _INDEX.fullmatch(step) and int(step) < len(found):
            return _look_up(found[int(step)], wanted[1:])
    return _ABSENT
