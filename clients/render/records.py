"""The outcome of each node as one record: what `--where` tests, `--sort` orders and tables show.

records(call)            nodes that answered in order of arrival, then all others
selected(call, view)     those that the view selects, in its order
look_up(record, path)    a member (`statuscode`), an output (`version`, `data.version`), or a part of one
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

from collective.clients.render.formatting import in_words
from collective.clients.render.labels import wants
from collective.clients.render.view import View
from collective.errors import UsageError

if TYPE_CHECKING:
    from collective.clients.render import CallView
    from collective.ddl import Action
    from collective.filters import Filter
    from collective.messages import Reply

Row = TypeVar("Row")
Values = Callable[[Row], Mapping[str, Any]]
_WHERE_SECONDS = 5.0  # for the regular expressions of `--where` over all records
_NUMBERS = re.compile(r"([0-9]+)")


@dataclass(frozen=True)
class NodeResult:
    """The outcome of a node: ok, failed, silent, skipped or rejected.

    A node without a reply has no `statuscode` and no `data`. `data` are the outputs in the order of the DDL, secrets
    masked. `elapsed_ms` is the duration of the action.
    """

    sender: str
    outcome: str
    statusmsg: str
    data: Mapping[str, Any] = field(default_factory=dict)
    statuscode: int | None = None
    reason: str | None = None
    elapsed_ms: float | None = None

    @property
    def answered(self) -> bool:
        """Whether the node has replied."""
        return self.statuscode is not None

    @property
    def members(self) -> dict[str, Any]:
        """The values by name: outputs, which may also be named without `data.`, and members, which come first."""
        return {**{name: value for name, value in self.data.items() if "." not in name}, **vars(self)}


def records(call: CallView) -> list[NodeResult]:
    """Return the record of each node once: nodes that answered by arrival, then silent, skipped and rejected ones."""
    outcomes = call.outcomes
    found = {reply.sender: of_reply(reply, call.action) for reply in outcomes.replies.values()}
    silence = "no response yet" if call.cut_short else "no response"
    others = {name: NodeResult(name, "silent", silence) for name in outcomes.silent}
    others |= {name: NodeResult(name, "skipped", "not sent") for name in sorted(outcomes.skipped)}
    rejected = sorted(outcomes.rejected - outcomes.replies.keys())
    others |= {name: NodeResult(name, "rejected", "reply could not be verified") for name in rejected}
    return [*found.values(), *others.values()]


def of_reply(reply: Reply, action: Action) -> NodeResult:
    """Return the record of a reply."""
    data = action.masked(in_order(reply.data, action))
    outcome = "ok" if reply.ok else "failed"
    return NodeResult(reply.sender, outcome, reply.statusmsg, data, reply.statuscode, reply.reason, reply.elapsed_ms)


def in_order(data: Mapping[str, Any], action: Action) -> dict[str, Any]:
    """Return the outputs in the order of the DDL, unknown outputs last."""
    known = [name for name in action.outputs if name in data]
    return {name: data[name] for name in [*known, *(name for name in data if name not in action.outputs)]}


def selected(call: CallView, view: View) -> list[NodeResult]:
    """Return the records that `--where` and `--display` keep, in the order of `--sort`."""
    return sort_rows(matching(records(call), view), _members, view.sort)


def matching(found: Iterable[NodeResult], view: View) -> list[NodeResult]:
    """Return the records that `--where` and `--display` keep: a node without a reply has nothing that is displayed."""
    kept = where_rows(found, _members, view.where)
    if view.display is None:
        return kept
    return [one for one in kept if one.statuscode is None or wants(view.display, one.statuscode)]


def where_rows(rows: Iterable[Row], values: Values[Row], where: Filter | None) -> list[Row]:
    """Return the rows whose `values` match; raise UsageError if the regular expressions take too long."""
    if where is None:
        return list(rows)
    from collective.filters import Budget, matches, no_data

    budget = Budget(_WHERE_SECONDS)
    kept = [row for row in rows if matches(where, _Facts(values(row)), no_data, budget)]
    if budget.spent:
        raise UsageError(f"--where: the regular expressions take more than {_WHERE_SECONDS:.0f} s for these results")
    return kept


def sort_rows(rows: Iterable[Row], values: Values[Row], paths: Sequence[str]) -> list[Row]:
    """Return the rows sorted by the values at `paths`, absent ones last; `-` before a path reverses the order."""
    from collective.filters import look_up

    found = list(rows)
    for path in reversed(paths):
        name, backwards = path.removeprefix("-"), path.startswith("-")
        keyed = [(look_up(values(row), name), row) for row in found]
        present = [(sort_key(value), row) for value, row in keyed if value is not None]
        present.sort(key=itemgetter(0), reverse=backwards)
        found = [row for _, row in present] + [row for value, row in keyed if value is None]
    return found


def look_up(record: NodeResult, path: str) -> Any:
    """Return the value at a path, or None."""
    from collective.filters import look_up as look_up_path

    return look_up_path(record.members, path)


def sort_key(value: Any) -> tuple[int, Any]:
    """Return what orders values of any type: numbers, then text with its digits as numbers."""
    if isinstance(value, int | float):
        return (0, value)
    pieces = _NUMBERS.split(in_words(value))
    return (1, [(int(piece[:4000]), piece) if place % 2 else (-1, piece) for place, piece in enumerate(pieces)])


@dataclass(frozen=True)
class _Facts:
    """A row as the filters see a node: its values are facts."""

    facts: Mapping[str, Any]
    identity: str = ""
    classes: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()


def _members(record: NodeResult) -> Mapping[str, Any]:
    return record.members
