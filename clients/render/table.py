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

from tabulate import tabulate

from collective.clients.render import CallView, ordered
from collective.clients.render.formatting import in_words
from collective.clients.streams import write
from collective.text import escape_controls, escape_lines

if TYPE_CHECKING:
    from collective.ddl import Action
    from collective.messages import Reply

_FIRST = ("Node", "Status", "Message")
_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?%?"
# The place before a formula; = + - @ in full width count for some spreadsheets. See https://owasp.org, "CSV Injection".
_FORMULA = re.compile(rf"(?:^|(?<=[;\t\n]))(?!{_NUMBER}(?:[;\t\n]|$))(?=[ \t\"]*[=+\-@\uff1d\uff0b\uff0d\uff20]|\t)")


def rows(call: CallView, *, by_identity: bool = False) -> list[list[str]]:
    """Return the heading and one row per node: nodes that answered first, or all sorted by identity."""
    replies = ordered(call.outcomes.replies.values(), by_identity)
    outputs = _outputs(call.action, replies)
    body = [_answered(reply, call.action, outputs) for reply in replies]
    body += [[name, status, message, *[""] * len(outputs)] for name, status, message in _unanswered(call)]
    if by_identity:
        body.sort(key=lambda row: row[0])
    return [[*_FIRST, *map(call.action.title, outputs)], *body]


def write_table(call: CallView, stream: TextIO, *, by_identity: bool = False) -> None:
    """Write the rows of a call as a table."""
    heading, *body = rows(call, by_identity=by_identity)
    write_rows(heading, body, stream)


def write_csv(call: CallView, stream: TextIO, *, by_identity: bool = False) -> None:
    """Write the rows of a call as CSV with a heading."""
    heading, *body = rows(call, by_identity=by_identity)
    write_csv_rows(heading, body, stream)


def write_rows(heading: Sequence[str], body: Iterable[Sequence[Any]], stream: TextIO) -> None:
    """Write rows as a table; characters that would break a line or harm a terminal are escaped."""
    head, *cells = [[escape_controls(in_words(value)) for value in row] for row in (heading, *body)]
    # Without `disable_numparse` the version 5.10 would be shown as 5.1.
    write(tabulate(cells, head, tablefmt="simple", disable_numparse=True) + "\n", stream)


def write_csv_rows(heading: Sequence[str], body: Iterable[Sequence[Any]], stream: TextIO) -> None:
    """Write rows as CSV with a heading.

    Values keep their newlines, control characters are escaped, and what a spreadsheet would compute begins with `'`.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([as_text_cell(escape_lines(in_words(value))) for value in row] for row in (heading, *body))
    write(buffer.getvalue(), stream)


def as_text_cell(text: str) -> str:
    """Return a cell in which a spreadsheet finds no formula: text that begins with = + - @ or a tab gets a `'` before.

    Numbers such as -5 stay. The beginnings of lines, and what follows a semicolon or a tab, are treated in the same
    way: a spreadsheet that expects another separator than the comma makes cells of them.
    """
    return _FORMULA.sub("'", text)


def _outputs(action: Action, replies: Iterable[Reply]) -> list[str]:
    found = dict.fromkeys(action.outputs)
    for reply in replies:
        found.update(dict.fromkeys(reply.data))
    return list(found)


def _answered(reply: Reply, action: Action, outputs: Sequence[str]) -> list[str]:
    data = action.masked(reply.data)
    status = "ok" if reply.ok else "failed"
    return [reply.sender, status, reply.statusmsg, *(in_words(data.get(name)) for name in outputs)]


def _unanswered(call: CallView) -> list[tuple[str, str, str]]:
    """Return name, status and message of each node without a valid reply, each node once."""
    outcomes = call.outcomes
    silence = "no response yet" if call.cut_short else "no response"
    nodes = {name: (name, "silent", silence) for name in outcomes.silent}
    nodes |= {name: (name, "skipped", "not sent") for name in sorted(outcomes.skipped)}
    rejected = sorted(outcomes.rejected - outcomes.replies.keys())
    nodes |= {name: (name, "rejected", "reply could not be verified") for name in rejected}
    return list(nodes.values())
