"""The text form of replies: a heading with the nodes, the status message, and the outputs under their titles.

    web[01-46].my.net (46)                   Request Aborted       the names fill 40 columns
       CRITICAL                                                    the status message, unless it is OK
              Exit Code: 2                                         outputs under the DDL's titles, in its order
                 Output: DISK CRITICAL

With `--diff`, the most common reply is complete, and of the others only what differs: `-` its value, `+` theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from collective.clients.render.differences import STATUS, differences
from collective.clients.render.groups import ReplyGroup, grouped
from collective.clients.render.labels import label, title, wants
from collective.clients.render.values import INDENT, MAX_LINES, ValueLayout, more
from collective.clients.render.view import Screen, View
from collective.clients.render.width import cut, pad, width, wrap_names
from collective.clients.streams import write
from collective.text import escape_controls, plural

if TYPE_CHECKING:
    from collective.clients.render.records import NodeResult
    from collective.ddl import Action

_NAMES = 40  # columns that the names of nodes fill
_LABEL = 24  # columns for a label and the space before it
MAX_NAME_LINES = 3  # lines of the names of one group, on a terminal without -v
MAX_DIFFERENT = 20  # groups that --diff compares, on a terminal without -v
_SIGNS = {"-": "red", "+": "green"}


def displayed(found: Iterable[NodeResult], view: View, action: Action) -> list[NodeResult]:
    """Return the records whose replies are printed; nodes without a reply are listed elsewhere.

    Without `--display` these are all replies for `-v`, `--where`, `--group-by` and `--diff`, else as the DDL says.
    """
    everything = view.verbose or view.where is not None or view.group_by or view.diff
    display = view.display or ("all" if everything else action.display)
    return [record for record in found if record.statuscode is not None and wants(display, record.statuscode)]


class ReplyWriter:
    """Writes replies of `action` to a screen."""

    def __init__(self, screen: Screen, view: View, action: Action) -> None:
        self._screen = screen
        self._view = view
        self._action = action
        self._columns = screen.columns
        self._cuts = screen.columns is not None and not view.verbose
        self._layout = ValueLayout(screen.columns, self._cuts)

    def show(self, found: Iterable[NodeResult]) -> None:
        """Write records with a reply, equal ones together; with `--diff` how the others differ from most."""
        groups = grouped(found, self._view, self._action)
        if self._view.diff and groups:
            self._show_differences(groups)
            return
        for group in groups:
            self._write([*self._heading(group), *self._body(group), ""])

    def _show_differences(self, groups: list[ReplyGroup]) -> None:
        usual, *others = sorted(groups, key=lambda group: -len(group.records))
        note = "most common reply" if others else "all replies are the same"
        self._write([*self._heading(usual, note), *self._body(usual), ""])
        shown = others[:MAX_DIFFERENT] if self._cuts else others
        for group in shown:
            self._write([*self._heading(group), *self._message(group), *self._differing(usual, group), ""])
        if left_over := len(others) - len(shown):
            self._write([f"… {plural(left_over, 'more group')} (use -v)", ""])

    def _heading(self, group: ReplyGroup, note: str = "") -> list[str]:
        """Return the names of the nodes, their number and the label, on one line if it is long enough."""
        first = group.first
        status = "" if self._view.group_by else label(first.statuscode or 0, self._screen.paint, first.reason)
        status = ", ".join(filter(None, [status, note]))
        names = group.folded + (f" ({len(group.records)})" if len(group.records) > 1 else "")
        if self._columns is None:
            return [f"{pad(names, _NAMES)} {status}"]
        place = max(0, min(_NAMES, self._columns - _LABEL))
        lines = wrap_names(names, self._columns, MAX_NAME_LINES if self._cuts else None)
        if status and width(lines[-1]) > max(place, self._columns - _LABEL):
            return [*lines, f"{' ' * place} {status}"]
        return [*lines[:-1], f"{pad(lines[-1], place)} {status}".rstrip()]

    def _body(self, group: ReplyGroup) -> Iterator[str]:
        """Yield the status message and the outputs."""
        yield from self._message(group)
        yield from self._layout.titled((self._title(name), value) for name, value in group.values.items())

    def _message(self, group: ReplyGroup) -> Iterator[str]:
        message = group.first.statusmsg
        if message != "OK" and not self._view.group_by:
            yield from (INDENT + line for line in self._layout.lines(message, len(INDENT)))

    def _differing(self, usual: ReplyGroup, group: ReplyGroup) -> Iterator[str]:
        """Yield the outputs that differ; heading and message already show the status."""
        found = [one for one in differences(usual, group) if one.field not in STATUS]
        titles = [self._title(one.field) for one in found]
        column = len(INDENT) + max(map(width, titles), default=0) + 2
        for heading, one in zip(titles, found, strict=True):
            lines = one.lines
            if self._cuts and len(lines) > MAX_LINES:
                lines = [*lines[: MAX_LINES - 1], more(len(lines) - MAX_LINES + 1)]
            yield from self._layout.beside(heading, [self._changed(line, column) for line in lines], column)

    def _changed(self, line: str, column: int) -> str:
        text, room = escape_controls(line), self._layout.room(column)
        if room is not None and self._cuts:
            text = cut(text, room)
        return self._screen.paint(_SIGNS[line[0]], text) if line[:1] in _SIGNS else text

    def _title(self, name: str) -> str:
        return title(self._action, name, output=not (self._view.fields or self._view.group_by))

    def _write(self, lines: Iterable[str]) -> None:
        write("".join(f"{line}\n" for line in lines), self._screen.stream)
