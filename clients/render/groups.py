"""Group nodes whose replies are the same, so that each different reply is shown once.

Equal: status, message and all outputs, except those that the DDL marks `volatile`; with `fields`, what is shown; with
`group_by`, the values of these fields. The largest group comes first, groups of the same size by arrival.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collective.clients.render.formatting import shallow
from collective.clients.render.records import NodeResult, look_up
from collective.nodesets import fold_any

if TYPE_CHECKING:
    from collective.clients.render.view import View
    from collective.ddl import Action


@dataclass(frozen=True)
class ReplyGroup:
    """Records that are the same; `values` are what is shown of each, by field."""

    records: Sequence[NodeResult]
    values: Mapping[str, Any]

    @property
    def first(self) -> NodeResult:
        """The record that arrived first."""
        return self.records[0]

    @property
    def nodes(self) -> list[str]:
        """The names of the nodes, sorted."""
        return sorted(record.sender for record in self.records)

    @property
    def folded(self) -> str:
        """The names of the nodes, folded: `web[01-08].my.net`."""
        return fold_any(record.sender for record in self.records)


@dataclass(frozen=True)
class Varying:
    """Stands for the values of a volatile output, which are not the same for all nodes of a group.

    `count` is how many there are; `lowest` and `highest` are None unless all are numbers.
    """

    count: int
    lowest: float | None = None
    highest: float | None = None


def grouped(found: Iterable[NodeResult], view: View, action: Action) -> list[ReplyGroup]:
    """Return the groups of records, each of one record without grouping."""
    if not view.group:
        return [ReplyGroup([record], shown_values(record, view)) for record in found]
    groups: dict[str, list[NodeResult]] = {}
    for record in found:
        groups.setdefault(_key(record, view, action), []).append(record)
    made = [_group(records, view, action) for records in groups.values()]
    return made if view.sort else sorted(made, key=lambda group: -len(group.records))


def shown_values(record: NodeResult, view: View) -> dict[str, Any]:
    """Return the values that are shown of a record, by field."""
    if paths := view.fields or view.group_by:
        return {path: look_up(record, path) for path in paths}
    return dict(record.data)


def _group(records: Sequence[NodeResult], view: View, action: Action) -> ReplyGroup:
    values = shown_values(records[0], view)
    if len(records) > 1:
        for name in values.keys() & ({*action.volatile} if not view.group_by else set()):
            values[name] = _common([shown_values(record, view).get(name) for record in records])
    return ReplyGroup(records, values)


def _common(values: Sequence[Any]) -> Any:
    """Return the value that all have, or what stands for different ones."""
    count = len({_encoded(value) for value in values})
    if count == 1:
        return values[0]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return Varying(count, min(values), max(values))
    return Varying(count)


def _key(record: NodeResult, view: View, action: Action) -> str:
    if view.group_by:
        return _encoded([look_up(record, path) for path in view.group_by])
    values = {name: value for name, value in shown_values(record, view).items() if name not in action.volatile}
    return _encoded([record.statuscode, record.statusmsg, record.reason, values])


def _encoded(value: Any) -> str:
    return json.dumps(shallow(value), sort_keys=True, default=repr)
