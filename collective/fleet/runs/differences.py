"""Compare two saved runs: which nodes answered differently, and which answered only in one of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from collective.fleet.runs.saved_run import SavedRun

_MEMBERS = ("statuscode", "statusmsg", "reason")


class FieldChange(NamedTuple):
    """A part of a reply that changed: an output as `data.NAME`, or a member such as `statuscode`."""

    field: str
    before: Any
    after: Any


@dataclass
class RunDifferences:
    """What changed from one run to another, by node.

    `appeared` answered only in the second run, `went_silent` were asked in both and answered only in the first,
    `not_asked` answered in the first and were not part of the second.
    """

    changed: dict[str, list[FieldChange]] = field(default_factory=dict)
    appeared: list[str] = field(default_factory=list)
    went_silent: list[str] = field(default_factory=list)
    not_asked: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)

    @property
    def any(self) -> bool:
        """Whether anything changed."""
        return bool(self.changed or self.appeared or self.went_silent or self.not_asked)


def compare(before: SavedRun, after: SavedRun, volatile: frozenset[str]) -> RunDifferences:
    """Return what changed; `volatile` are outputs that differ in each reply, and are ignored."""
    found = RunDifferences()
    asked = {*after.expected, *after.silent}
    for node in sorted({*before.replies, *after.replies}):
        if node not in before.replies:
            found.appeared.append(node)
        elif node not in after.replies:
            (found.went_silent if node in asked else found.not_asked).append(node)
        elif changes := list(_changes(before.replies[node], after.replies[node], volatile)):
            found.changed[node] = changes
        else:
            found.unchanged.append(node)
    return found


def _changes(before: Mapping[str, Any], after: Mapping[str, Any], volatile: frozenset[str]) -> Iterator[FieldChange]:
    for name in _MEMBERS:
        if before.get(name) != after.get(name):
            yield FieldChange(name, before.get(name), after.get(name))
    old, new = before["data"], after["data"]
    for name in dict.fromkeys([*old, *new]):
        if name not in volatile and not _equal(old.get(name), new.get(name)):
            yield FieldChange(f"data.{name}", old.get(name), new.get(name))


def _equal(first: Any, second: Any) -> bool:
    return bool(first == second) and isinstance(first, bool) == isinstance(second, bool)
