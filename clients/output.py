r"""Print what a command found in the form that the user asked for: text, json, jsonl, yaml, table or csv.

    output.show(args, Output(
        schema="find",                                      the document's schema: collective/schemas/find.json
        document={"collective": …, "nodes": names},         json, yaml
        columns=["node"], rows=[[name] for name in names],  jsonl (an object per row), table, csv
        text=lambda: "".join(f"{name}\n" for name in names),
    ))

`--fields`, `--where` and `--sort` act on the rows: the text form is then a table, and a document has the rows. A
command that prints text while it works tests `args.output == "text"` itself. `paint(args)` colours its text.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from collective import schemas
from collective.clients import streams
from collective.clients.render.formatting import Paint, color_enabled, shallow, to_json, write_json, write_yaml
from collective.clients.render.view import Screen, View
from collective.clients.streams import write
from collective.clients.view_options import BY_NAME, check_fields, read_view
from collective.errors import UsageError
from collective.text import escape_controls

DEFAULT = View()
_NAMES = ("node", "identity")  # columns with the name of a node
_TIMES = ("created", "expires", "last_seen", "seen", "start", "time")  # columns with seconds since 1970
_A_DATE = 1e9  # smaller numbers are ages
_SUFFIXES = {".json": "json", ".jsonl": "jsonl", ".yaml": "yaml", ".yml": "yaml", ".csv": "csv", ".txt": "text"}


class Writable(Protocol):
    """What can be written in each form."""

    def write(self, form: str, screen: Screen) -> None:
        """Write the form to the screen."""


@dataclass(frozen=True)
class Output:
    """What a command found. `rows` have a value for each of `columns`; `text` returns the text form, escaped."""

    schema: str
    document: Mapping[str, Any]
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    text: Callable[[], str]

    def write(self, form: str, screen: Screen, view: View = DEFAULT) -> None:
        """Write one form to the screen."""
        if form == "text":
            write(self.text(), screen.stream)
        elif form in ("json", "yaml"):
            (write_json if form == "json" else write_yaml)(_document(self), screen.stream)
        elif form == "jsonl":
            for row in self.rows:
                write(json.dumps(shallow(dict(zip(self.columns, row, strict=True)))) + "\n", screen.stream)
        else:
            write_table(form, self.columns, self._dated() if form == "table" else self.rows, screen, view)

    def _dated(self) -> list[list[Any]]:
        """Return the rows with Unix times as dates, for people."""
        return [
            [_date(value) if name in _TIMES else value for name, value in zip(self.columns, row, strict=True)]
            for row in self.rows
        ]

    def shown(self, view: View) -> Output:
        """Return the rows that the view selects as an output of their own.

        Itself if the view selects none, or only sorts by name: documents are sorted by name.
        """
        if view.only == "count":
            count = len(self.shown(_rows_only(view)).rows)
            return Output("count", {"count": count}, ["count"], [[count]], lambda: f"{count}\n")
        if view.only:
            return self._names(view)
        if not view.selects or (view.sort == (BY_NAME,) and not (view.fields or view.where)):
            return self
        columns, rows = selected_rows(self.columns, self.rows, view)
        objects = [dict(zip(columns, row, strict=True)) for row in rows]
        return Output("rows", {"rows": objects}, columns, rows, str)

    def _names(self, view: View) -> Output:
        """Return the nodes of the rows, for `--names` and `--folded`; raise UsageError if rows are not of nodes."""
        from collective.nodesets import fold_any

        _check_names(view, self.columns)
        place = next(at for at, name in enumerate(self.columns) if name in _NAMES)
        kept = selected_rows(self.columns, self.rows, View(where=view.where, sort=view.sort))[1]
        names = list(dict.fromkeys(str(row[place]) for row in kept))
        shown = [fold_any(names)] if view.only == "folded" and names else names
        text = "".join(f"{escape_controls(name)}\n" for name in shown)
        rows = [[name] for name in shown]
        return Output("rows", {"rows": [{"node": name} for name in shown]}, ["node"], rows, lambda: text)


@dataclass(frozen=True)
class _Shown:
    """An output as the view options ask for."""

    output: Output
    view: View

    def write(self, form: str, screen: Screen) -> None:
        shown = self.output.shown(self.view)
        if self.view.query is not None:
            write_query(self.view.query, _document(shown), form, screen)
        else:
            is_table = form == "text" and shown.schema == "rows" and not self.view.only
            shown.write("table" if is_table else form, screen, self.view)


def show(args: argparse.Namespace, output: Output) -> None:
    """Print `output` on standard output, in the form `args.output`."""
    deliver(args, _Shown(output, read_view(args)))


def is_plain_text(args: argparse.Namespace, columns: Iterable[str], form: str = "text") -> bool:
    """Return whether the output is `form` as it is, which a command may then print while it works.

    False if options select, cut or count the rows of `columns`, or write a file. Raises UsageError for wrong options:
    call it before anything is done.
    """
    view = read_view(args)
    check_fields(view, columns)
    _check_names(view, columns)
    changed = view.selects or view.only or view.query is not None
    return bool(args.output == form) and not changed and args.output_file is None


def require_text(args: argparse.Namespace, what: str, hint: str) -> None:
    """Raise UsageError if the command line asks for anything but the text of `what`, which has no rows.

    A form from the environment is for the commands that have it.
    """
    view = read_view(args)
    if args.output != "text" and "output" not in args.from_variables:
        raise UsageError(f"-o {args.output}: not available for {what} ({hint})")
    if view.selects or view.only or view.query is not None or args.output_file is not None:
        raise UsageError(f"{what}: has no rows to select, count or write to a file ({hint})")


def deliver(args: argparse.Namespace, found: Writable, *, pages: bool = True) -> None:
    """Write `found` to standard output, through the pager if it is longer than the terminal, and to `--output-file`."""
    screen = Screen(sys.stdout, paint(args), terminal_columns(sys.stdout))
    words = _pager(args) if pages else []
    if words:
        buffer = io.StringIO()
        found.write(args.output, Screen(buffer, screen.paint, screen.columns))
        _page(buffer.getvalue(), words)
    else:
        found.write(args.output, screen)
    if args.output_file is not None:
        write_file(args, found)


def write_file(args: argparse.Namespace, found: Writable) -> None:
    """Write `found` to `--output-file`, in the form of its suffix; raise UsageError if that is not possible."""
    path: Path = args.output_file
    form = _SUFFIXES.get(path.suffix.lower(), args.output)
    try:
        with path.open("w", encoding="utf-8") as stream:
            found.write(form, Screen(stream))
    except OSError as error:
        raise UsageError(f"--output-file {path}: {error.strerror or error}") from None


def write_table(form: str, heading: Sequence[str], rows: Iterable[Sequence[Any]], screen: Screen, view: View) -> None:
    """Write rows as CSV, or for any other form as a table."""
    from collective.clients.render import table

    if form == "csv":
        table.write_csv_rows(heading, rows, screen.stream)
    else:
        table.write_rows(heading, rows, screen, wide=view.wide)


def write_query(query: Any, document: Mapping[str, Any], form: str, screen: Screen) -> None:
    """Write what a JMESPath expression finds: as text, strings and numbers one per line, and anything else as JSON."""
    from jmespath.exceptions import JMESPathError

    try:
        found = query.search(document)
    except JMESPathError as error:
        raise UsageError(f"--jmespath: {error}") from None
    if form == "text":
        scalars = isinstance(found, list) and not any(isinstance(one, dict | list) for one in found)
        values = found if scalars else [found]
        write("".join(f"{one if isinstance(one, str) else to_json(one, 2)}\n" for one in values), screen.stream)
    else:
        (write_json if form == "json" else write_yaml)(found, screen.stream)


def selected_rows(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], view: View
) -> tuple[list[str], list[list[Any]]]:
    """Return the columns and rows that `--fields`, `--where` and `--sort` select; raise UsageError for other names."""
    from collective.clients.render.records import sort_rows, where_rows
    from collective.filters import look_up

    check_fields(view, columns)
    objects = [dict(zip(columns, row, strict=True)) for row in rows]
    # Without a name, `--sort` sorts by the first column.
    paths = tuple(columns[0] if path == BY_NAME else path for path in view.sort)
    kept = sort_rows(where_rows(objects, _itself, view.where), _itself, paths)
    wanted = list(view.fields or columns)
    return wanted, [[row[path] if path in row else look_up(row, path) for path in wanted] for row in kept]


def paint(args: argparse.Namespace, stream: Any = None) -> Paint:
    """Return what colours text for `stream` (default: standard output), as options and environment ask."""
    return Paint(color_enabled(args.color, stream or sys.stdout, os.environ))


def terminal_columns(stream: Any) -> int | None:
    """Return the width of the terminal that `stream` is; None if it is none."""
    return _terminal_size().columns if stream.isatty() else None


def _terminal_size() -> os.terminal_size:
    import shutil

    return shutil.get_terminal_size()


def _pager(args: argparse.Namespace) -> list[str]:
    """Return the command line of the pager; none if the output is not for reading, or not on a terminal."""
    if args.no_pager or args.output not in ("text", "table") or not (sys.stdout.isatty() and sys.stdin.isatty()):
        return []
    from collective.clients import pager

    return pager.command()


def _page(text: str, words: list[str]) -> None:
    if text.count("\n") < _terminal_size().lines:
        streams.write_escaped(text)
        return
    from collective.clients import pager

    sys.stdout.flush()
    pager.page(text, words, sys.stdout.encoding or "utf-8")
    streams.copy(text)


def _document(output: Output) -> dict[str, Any]:
    document: dict[str, Any] = shallow({"schema": schemas.schema_id(output.schema), **output.document})
    return document


def _check_names(view: View, columns: Iterable[str]) -> None:
    """Raise UsageError for `--names` and `--folded` if rows are not of nodes."""
    if view.only in ("names", "folded") and not any(name in _NAMES for name in columns):
        raise UsageError(f"--{view.only}: not available for this output, whose rows are not nodes")


def _date(value: Any) -> Any:
    """Return a Unix time as local time; any other value as it is."""
    if not isinstance(value, (int, float)) or value < _A_DATE:
        return value
    from datetime import datetime

    return f"{datetime.fromtimestamp(value).astimezone():%Y-%m-%d %H:%M:%S}"


def _itself(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return row


def _rows_only(view: View) -> View:
    return View(fields=view.fields, sort=view.sort, where=view.where)
