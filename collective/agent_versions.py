"""Demand a version of an agent: `package@>=1.2`, `package@>=1.2,<2`, `package@1.4.0`.

split("package@>=1.2") ─► ("package", ">=1.2") ─► satisfies("1.10.0", ">=1.2") ─► True

Versions are compared number by number: 1.10 is newer than 1.9, and 1.2 is 1.2.0.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from collective.errors import UsageError

LONGEST = 100  # characters of a demand
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    "": operator.eq,
}
_PART = re.compile(r"\s*(>=|<=|==|!=|>|<|)\s*([0-9]{1,9}(?:\.[0-9]{1,9}){0,7})\s*")
_VERSION = re.compile(r"v?([0-9]{1,9}(?:\.[0-9]{1,9}){0,7})")


def split(agent: str) -> tuple[str, str]:
    """Return the name and the demanded version of `NAME@VERSION`; without `@` the version is empty.

    Raises UsageError for a demand that cannot be read.
    """
    name, mark, demand = agent.partition("@")
    if not mark:
        return agent, ""
    if len(demand) > LONGEST or not all(map(_PART.fullmatch, demand.split(","))):
        raise UsageError(f"invalid version '{demand[:LONGEST]}' of the agent '{name}': use '@>=1.2' or '@>=1.2,<2'")
    return name, demand


def satisfies(version: str, demand: str) -> bool:
    """Return whether a version is demanded; false if the version or the demand cannot be read."""
    has = _VERSION.match(version)
    parts = [_PART.fullmatch(part) for part in demand.split(",")]
    if has is None or not all(parts):
        return False
    return all(_COMPARE[part[1]](_numbers(has[1]), _numbers(part[2])) for part in parts if part)


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in version.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
