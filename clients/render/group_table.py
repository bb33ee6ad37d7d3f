"""Groups of replies as rows: the form of `--group-by` and `--diff` in tables and CSV.

Nodes             Count  Version                           --group-by version
web[01-46].my.net 46     1.2.3

Nodes             Count  Field    Usual  Found             --diff: a row per difference from the most common reply
web[01-46].my.net 46
web47.my.net      1      Version  1.2.3  1.2.2
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from collective.clients.render.differences import differences
from collective.clients.render.groups import ReplyGroup, grouped
from collective.clients.render.labels import title

if TYPE_CHECKING:
    from collective.clients.render.records import NodeResult
    from collective.clients.render.view import View
    from collective.ddl import Action


def group_rows(found: Iterable[NodeResult], view: View, action: Action) -> list[list[Any]]:
    """Return the heading and one row per group of replies, or with `view.diff` one per difference."""
    groups = grouped((record for record in found if record.answered), view, action)
    if view.diff:
        return _difference_rows(groups, view, action)
    heading = ["Nodes", "Count", *(title(action, path) for path in view.group_by)]
    return [heading, *([*_nodes(group), *group.values.values()] for group in groups)]


def _difference_rows(groups: list[ReplyGroup], view: View, action: Action) -> list[list[Any]]:
    rows: list[list[Any]] = [["Nodes", "Count", "Field", "Usual", "Found"]]
    if not groups:
        return rows
    usual, *others = sorted(groups, key=lambda group: -len(group.records))
    rows.append([*_nodes(usual), None, None, None])
    outputs = not (view.fields or view.group_by)
    for group in others:
        for one in differences(usual, group):
            output = outputs and one.field in action.outputs
            rows.append([*_nodes(group), title(action, one.field, output=output), one.usual, one.found])
    return rows


def _nodes(group: ReplyGroup) -> list[Any]:
    return [group.folded, len(group.records)]
