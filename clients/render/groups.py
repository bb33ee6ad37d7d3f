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
from collective.clients.render.records import Record, look_up
from collective.nodesets import fold_any

if TYPE_CHECKING:
    from collective.clients.render.view import View
    from collective.ddl import Action


@dataclass(frozen=True)
class Group:
    """Records that are the same; `values` are what is shown of each, by field."""

    records: Sequence[Record]
    values: Mapping[str, Any]

    @property
    def first(self) -> Record:
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
    """Stands for the values of a volatile output, which are not the same for all nodes of a group."""

    count: int


def grouped(found: Iterable[Record], view: View, action: Action) -> list[Group]:
    """Return the groups of records, each of one record without grouping."""
    if not view.group:
        return [Group([record], shown_values(record, view)) for record in found]
    groups: dict[str, list[Record]] = {}
    for record in found:
        groups.setdefault(_key(record, view, action), []).append(record)
    made = [_group(records, view, action) for records in groups.values()]
    return made if view.sort else sorted(made, key=lambda group: -len(group.records))


def shown_values(record: Record, view: View) -> dict[str, Any]:
    """Return the values that are shown of a record, by field."""
    if paths := view.fields or view.group_by:
        return {path: look_up(record, path) for path in paths}
    return dict(record.data)


def _group(records: Sequence[Record], view: View, action: Action) -> Group:
    values = shown_values(records[0], view)
    if len(records) > 1:
        for name in values.keys() & ({*action.volatile} if not view.group_by else set()):
            different = {_encoded(shown_values(record, view).get(name)) for record in records}
            if len(different) > 1:
                values[name] = Varying(len(different))
    return Group(records, values)


def _key(record: Record, view: View, action: Action) -> str:
    if view.group_by:
        return _encoded([look_up(record, path) for path in view.group_by])
    values = {name: value for name, value in shown_values(record, view).items() if name not in action.volatile}
    return _encoded([record.statuscode, record.statusmsg, record.reason, values])


def _encoded(value: Any) -> str:
    return json.dumps(shallow(value), sort_keys=True, default=repr)
