"""Tables and CSV: one row per node, failed and silent nodes included.

    Node          Status    Message                                 Exit Code
    ------------  --------  --------------------------------------  -----------
    web1.my.net   ok        OK                                      0
    web2.my.net   silent    no response

The other columns are the outputs of the DDL under their titles, then unknown outputs.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from collective.clients.render import CallView
from collective.clients.render.formatting import in_words
from collective.clients.render.labels import title
from collective.clients.render.layout import table
from collective.clients.render.records import look_up, selected
from collective.clients.render.view import Screen, View
from collective.clients.streams import write
from collective.text import escape_controls, escape_lines

if TYPE_CHECKING:
    from collective.clients.render.records import NodeResult
    from collective.ddl import Action

_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?%?"
# The place before a formula; = + - @ in full width count for some spreadsheets. See https://owasp.org, "CSV Injection".
_FORMULA = re.compile(rf"(?:^|(?<=[;\t\n]))(?!{_NUMBER}(?:[;\t\n]|$))(?=[ \t\"]*[=+\-@\uff1d\uff0b\uff0d\uff20]|\t)")


def rows(call: CallView, view: View) -> list[list[Any]]:
    """Return the heading and one row per node: nodes that answered first, or as `view` selects and sorts them.

    The columns are node, status, message and all outputs, or node, status and the fields of the view. With `group_by`
    or `diff` there is a row per group, see group_table.py.
    """
    found = selected(call, view)
    if view.group_by or view.diff:
        from collective.clients.render.group_table import group_rows

        return group_rows(found, view, call.action)
    if view.fields:
        heading = ["Node", "Status", *(title(call.action, path) for path in view.fields)]
        return [heading, *([one.sender, one.outcome, *(look_up(one, path) for path in view.fields)] for one in found)]
    outputs = _outputs(call.action, found)
    body = [[one.sender, one.outcome, one.statusmsg, *map(one.data.get, outputs)] for one in found]
    return [["Node", "Status", "Message", *map(call.action.title, outputs)], *body]


def write_rows(
    heading: Sequence[str],
    body: Iterable[Sequence[Any]],
    screen: Screen,
    *,
    wide: bool = False,
    right: Iterable[int] = (),
) -> None:
    """Write rows as a table; characters that would break a line or harm a terminal are escaped."""
    columns = None if wide else screen.columns
    most = None if columns is None else columns + 1  # no cell is wider than the terminal
    head, *cells = [[escape_controls(in_words(value)[:most]) for value in row] for row in (heading, *body)]
    write("".join(f"{line}\n" for line in table(head, cells, columns, right)), screen.stream)


def write_csv_rows(heading: Sequence[str], body: Iterable[Sequence[Any]], stream: TextIO) -> None:
    """Write rows as CSV with a heading.

    Values keep their newlines, control characters are escaped, and what a spreadsheet would compute begins with `'`.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([as_text_cell(escape_lines(in_words(value))) for value in row] for row in (heading, *body))
    write(buffer.getvalue(), stream)


def _outputs(action: Action, found: Iterable[NodeResult]) -> list[str]:
    names = dict.fromkeys(action.outputs)
    for one in found:
        names.update(dict.fromkeys(one.data))
    return list(names)


def as_text_cell(text: str) -> str:
    """Return a cell in which a spreadsheet finds no formula: text that begins with = + - @ or a tab gets a `'` before.

    Numbers such as -5 stay. The beginnings of lines, and what follows a semicolon or a tab, are treated in the same
    way: a spreadsheet that expects another separator than the comma makes cells of them.
    """
    return _FORMULA.sub("'", text)
