"""The text form of replies: a heading with the nodes, the status message, and the outputs under their titles.

    web[01-46].my.net (46)                   Request Aborted       the names fill 40 columns
       CRITICAL                                                    the status message, unless it is OK
              Exit Code: 2                                         outputs under the DDL's titles, in its order
                 Output: DISK CRITICAL

On a terminal, values are wrapped to its width and long ones are cut; elsewhere they are complete.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from collective.clients.render.differences import differences
from collective.clients.render.formatting import PLAIN, Paint, in_words
from collective.clients.render.groups import Group, Varying, grouped
from collective.clients.render.view import Screen, View
from collective.clients.render.width import cut, pad, width, wrap
from collective.clients.streams import write
from collective.text import escape_controls, escape_lines, plural

if TYPE_CHECKING:
    from collective.clients.render.records import Record
    from collective.ddl import Action

_INDENT = "   "
_NAMES = 40  # columns that the names of nodes fill
_LABEL = 24  # columns for a label and the space before it
_NO_TERMINAL = 80  # columns beyond which JSON values are spread over lines
_LEAST_ROOM = 16  # columns; values with less room beside their titles begin on a line of their own
MAX_LINES = 20  # of one value on a terminal without -v
MAX_DIFFERENT = 20  # groups that --diff compares without -v
_LABELS = {
    0: ("", "bold"),
    1: ("Request Aborted", "red"),
    2: ("Unknown Action", "yellow"),
    3: ("Missing Request Data", "yellow"),
    4: ("Invalid Request Data", "yellow"),
}
_UNKNOWN_LABEL = ("Unknown Request Status", "red")
# Replies whose `reason` says that not the action, but the node decided.
_REASON_LABELS = {
    "denied": ("Request Denied", "red"),
    "timeout": ("Timed Out", "red"),
    "crashed": ("Agent Crashed", "red"),
    "interrupted": ("Action Interrupted", "red"),
    "cancelled": ("Action Cancelled", "red"),
    "frozen": ("Node Frozen", "red"),
    "busy": ("Node Busy", "yellow"),
    "expired": ("Request Expired", "yellow"),
    "filtered": ("Request Filtered", "yellow"),
    "not_evaluated": ("Filter Not Evaluated", "yellow"),
}
_SIGNS = {"-": "red", "+": "green"}
_STATUS_TITLES = {"outcome": "Outcome", "statusmsg": "Status message", "reason": "Reason"}


def wants(display: str, statuscode: int) -> bool:
    """Return whether to print a reply; `display` is the action's (ok, failed, always) or the option's `all`."""
    if display == "ok":
        return statuscode == 0
    if display == "failed":
        return statuscode > 0
    return True


def label(statuscode: int, paint: Paint = PLAIN, reason: str | None = None) -> str:
    """Return the label beside a node's name; empty for status code 0. A known `reason` has its own."""
    known = _REASON_LABELS.get(reason or "") if statuscode else None
    text, color = known or _LABELS.get(statuscode, _UNKNOWN_LABEL)
    return paint(color, text)


def displayed(found: Iterable[Record], view: View, action: Action) -> list[Record]:
    """Return the records whose replies are printed; nodes without a reply are listed elsewhere.

    Without `--display` these are all replies for `-v`, `--where`, `--group-by` and `--diff`, else as the DDL says.
    """
    everything = view.verbose or view.where is not None or view.group_by or view.diff
    display = view.display or ("all" if everything else action.display)
    return [record for record in found if record.statuscode is not None and wants(display, record.statuscode)]


class Replies:
    """Writes replies of `action` to a screen."""

    def __init__(self, screen: Screen, view: View, action: Action) -> None:
        self._screen = screen
        self._view = view
        self._action = action
        self._cuts = screen.columns is not None and not view.verbose

    def show(self, found: Iterable[Record]) -> None:
        """Write records with a reply, equal ones together; with `--diff` how the others differ from most."""
        groups = grouped(found, self._view, self._action)
        if self._view.diff and len(groups) > 1:
            self._show_differences(groups)
            return
        for group in groups:
            self._write([self._heading(group), *self._body(group), ""])

    def _show_differences(self, groups: list[Group]) -> None:
        usual, *others = sorted(groups, key=lambda group: -len(group.records))
        self._write([self._heading(usual, "most common reply"), *self._body(usual), ""])
        shown = others[:MAX_DIFFERENT] if self._cuts else others
        for group in shown:
            self._write([self._heading(group, "differs"), *self._differing(usual, group), ""])
        if left_over := len(others) - len(shown):
            self._write([f"… {plural(left_over, 'more group')} (use -v)", ""])

    def _heading(self, group: Group, note: str = "") -> str:
        """Return the names of the nodes, their number and the label."""
        first = group.first
        status = "" if self._view.group_by else label(first.statuscode or 0, self._screen.paint, first.reason)
        status = " ".join(filter(None, [note, status]))
        count = f" ({len(group.records)})" if len(group.records) > 1 else ""
        names, columns = group.folded, self._screen.columns
        if columns is None:
            return f"{pad(names + count, _NAMES)} {status}"
        if self._cuts:
            names = cut(names, max(_LEAST_ROOM, columns - len(count) - (_LABEL if status else 0)))
        return f"{pad(names + count, max(0, min(_NAMES, columns - _LABEL)))} {status}".rstrip()

    def _body(self, group: Group) -> Iterator[str]:
        """Yield the status message, and the outputs aligned at the colons."""
        message = group.first.statusmsg
        if message != "OK" and not self._view.group_by:
            yield from (_INDENT + line for line in self._lines(message, len(_INDENT)))
        titled = [(escape_controls(self._action.title(name)), value) for name, value in group.values.items()]
        column = len(_INDENT) + max((width(title) for title, _ in titled), default=0)
        for title, value in titled:
            lines = [_varying(value)] if isinstance(value, Varying) else self._lines(value, column + 2)
            yield from self._beside(f"{pad(title, column, right=True)}:", lines, column + 2)

    def _beside(self, head: str, lines: Sequence[str], column: int) -> Iterator[str]:
        """Yield the lines of a value beside its title, or below it if there is too little room."""
        if not lines:
            yield head
        elif self._room(column) is None or self._room(column) == self._left(column):
            yield f"{head} {lines[0]}"
            yield from (f"{' ' * column}{line}" if line else "" for line in lines[1:])
        else:
            yield head.lstrip()
            yield from (_INDENT + line for line in lines)

    def _differing(self, usual: Group, group: Group) -> Iterator[str]:
        paint = self._screen.paint
        for one in differences(usual, group):
            title = _STATUS_TITLES.get(one.field) or escape_controls(self._action.title(one.field))
            yield f"{_INDENT}{title}:"
            shown = one.lines[: MAX_LINES - 1] if self._cuts and len(one.lines) > MAX_LINES else one.lines
            for line in shown:
                text = escape_controls(line)
                if self._cuts:
                    text = cut(text, self._left(2 * len(_INDENT)))
                yield 2 * _INDENT + (paint(_SIGNS[line[0]], text) if line[0] in _SIGNS else text)
            if hidden := len(one.lines) - len(shown):
                yield 2 * _INDENT + _more(hidden)

    def _left(self, column: int) -> int:
        return (self._screen.columns or _NO_TERMINAL) - column

    def _room(self, column: int) -> int | None:
        """Return the columns for a value that begins at `column`; None outside of terminals."""
        if self._screen.columns is None:
            return None
        left = self._left(column)
        return left if left >= _LEAST_ROOM else max(1, self._screen.columns - len(_INDENT))

    def _lines(self, value: Any, column: int) -> list[str]:
        """Return the lines of a value, escaped; on a terminal wrapped to its width."""
        text, room = in_words(value), self._room(column)
        if not isinstance(value, str) and len(text) > (self._left(column) if room is None else room):
            text = in_words(value, indent=2)
        if room is None:
            text = escape_lines(text).rstrip("\n")
            return text.split("\n") if text else []
        lines, hidden = _wrapped(text, room, MAX_LINES if self._cuts else None)
        return [*lines, _more(hidden)] if hidden else lines

    def _write(self, lines: Iterable[str]) -> None:
        write("".join(f"{line}\n" for line in lines), self._screen.stream)


def _wrapped(text: str, room: int, limit: int | None) -> tuple[list[str], int]:
    """Return the first lines of `text`, wrapped to `room` columns, and the number of further lines beyond `limit`."""
    text = text.rstrip("\r\n")
    given = text.split("\n") if text else []
    lines: list[str] = []
    for place, line in enumerate(given):
        most = len(line) if limit is None else limit * room
        lines += wrap(escape_lines(line[:most].removesuffix("\r")).expandtabs(), room)
        hidden = len(given) - place - 1 + (len(line) - min(len(line), most)) // room
        if limit is not None and len(lines) + hidden > limit and len(lines) >= limit:
            return lines[: limit - 1], len(lines) - limit + 1 + hidden
    return lines, 0


def _more(hidden: int) -> str:
    return f"… {plural(hidden, 'more line')} (use -v)"


def _varying(value: Varying) -> str:
    return f"({value.count} different values, see --no-group)"
