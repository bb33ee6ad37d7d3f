"""`crpc report NAME|FILE`: report on the fleet, from the registry or from the replies of an action."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collective.clients import options, output
from collective.clients.commands import COMMANDS
from collective.clients.completed_by import completed_by
from collective.clients.output import Output
from collective.clients.parser import Parser
from collective.clients.render.formatting import shallow
from collective.clients.render.view import Screen
from collective.clients.streams import notice, write
from collective.clients.view_options import add_quiet, read_view
from collective.errors import ConfigError, UsageError
from collective.suggestions import suggest
from collective.text import escape_controls

if TYPE_CHECKING:
    from collective.clients.reports.content import Content
    from collective.clients.reports.definition import Report

_SUFFIXES = {".html": "html", ".htm": "html", ".md": "markdown"}


def make_parser() -> Parser:
    """Return the parser of `crpc report`."""
    parser = Parser(
        "crpc report",
        usage="crpc report NAME|FILE [KEY=VALUE ...] [options]\n       crpc report list\n       crpc report show NAME",
        description=f"{COMMANDS['report']}.\n\nNAME is a shipped report or one in the folder 'reports' beside "
        "client.yaml, FILE a YAML file or a Jinja2 template (.j2). 'list' prints the reports, 'show' the file of one. "
        "KEY=VALUE are inputs of the report's action. The page of --html can be sorted and searched in a browser, and "
        "needs no network.",
        examples=[
            "crpc report hardware",
            "crpc report os --markdown",
            "crpc report package-versions package=bash -F role=web -o csv",
            "crpc report hardware --html",
            "crpc report list",
        ],
    )
    completed_by(
        "report",
        parser.add_argument("words", nargs="+", metavar="NAME|FILE", help="the report, and inputs of its action"),
    )
    parser.file_forms = tuple(_SUFFIXES)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--html", action="store_const", dest="page", const="html", help="one HTML page")
    form.add_argument("--markdown", action="store_const", dest="page", const="markdown", help="Markdown")
    options.add_targets(parser)
    options.add_running(parser)
    add_quiet(parser.add_argument_group("result options"))
    return parser


def run(arguments: Sequence[str]) -> int:
    """Print a report, the list of reports, or the file of one; return the exit code of the report's call."""
    args = make_parser().parse_args(arguments)
    verb, *rest = args.words
    if verb == "list":
        if rest:
            raise UsageError(f"unexpected argument '{rest[0]}' (see 'crpc report --help')")
        return _list(args)
    if verb == "show":
        if len(rest) != 1:
            raise UsageError("report show: needs the name of one report ('crpc report list' prints them)")
        return _show(args, rest[0])
    return _report(args, verb, rest)


def _report(args: argparse.Namespace, name: str, words: list[str]) -> int:
    from collective.clients.reports import content, definition, rows

    report = definition.find(name, _folders(args))
    _check_form(args, report)
    found = rows.collect(report, args, words)
    if not args.quiet:
        _report_mistyped(args, report, found.rows)
    _deliver(args, content.build(report, found.rows, time.time()))
    return found.code


def _report_mistyped(args: argparse.Namespace, report: Report, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a line for each column with a fact that no row has, if the name of another fact is similar."""
    from collective.filters import look_up
    from collective.fleet import registry_names

    config = options.client_config(args)
    known = registry_names.load(config.state, config.collective).facts
    for column in report.layout:
        fact = column.value.removeprefix("facts.")
        if fact == column.value or fact in known or any(look_up(row, column.value) is not None for row in rows):
            continue
        if hint := suggest(fact, known):
            notice(f"column '{column.heading}': no node has the fact '{fact}' ({hint})")


def _check_form(args: argparse.Namespace, report: Report) -> None:
    """Raise UsageError for a form that the report does not have."""
    if args.page and args.output != "text":
        raise UsageError(f"--{args.page}: not allowed with -o {args.output}")
    view = read_view(args)
    if args.page and (view.selects or view.only or view.query is not None):
        raise UsageError(f"--{args.page}: prints the whole report (choose columns and rows with -o table or csv)")
    if report.is_template and not report.columns and args.output != "text":
        raise UsageError(f"report '{report.name}' is a template, and has no columns for -o {args.output} (use text)")


def _deliver(args: argparse.Namespace, found: Content) -> None:
    file: Path | None = args.output_file
    form = _SUFFIXES.get(file.suffix.lower()) if file is not None else None
    if file is not None and (args.page or form):  # a page is not for the terminal
        _write(file, _page(args.page or form or "", found))
    elif args.page:
        write(_page(args.page, found))
    else:
        _show_rows(args, found)


def _page(form: str, found: Content) -> str:
    from collective.clients.reports import templates, text

    written = templates.write(found) if found.report.is_template else None
    if form == "markdown":
        return text.as_markdown(found) if written is None else written
    from collective.clients.reports.html import as_html

    return as_html(found, written)


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--output-file {file}: {error.strerror or error}") from None


def _show_rows(args: argparse.Namespace, found: Content) -> None:
    """Print the report in one of the forms of every command."""
    columns = [column.heading for column in found.columns]
    rows = [[shallow(value) for value in row] for row in found.rows]
    document = {
        "report": found.report.name,
        "title": found.report.title,
        "time": round(found.time, 3),
        "nodes": found.nodes,
        "columns": [{"heading": column.heading, "value": column.value} for column in found.columns],
        "rows": [dict(zip(columns, row, strict=True)) for row in rows],
        "totals": dict(zip(columns, found.totals, strict=True)) if found.totals else {},
    }
    output.show(args, Output("report", document, columns, rows, lambda: _text(args, found)))


def _text(args: argparse.Namespace, found: Content) -> str:
    from collective.clients.reports import templates, text

    if found.report.is_template:
        return templates.write(found)
    screen = Screen(sys.stdout, output.paint(args), output.terminal_columns(sys.stdout))
    return text.as_text(found, screen, wide=args.wide)


def _list(args: argparse.Namespace) -> int:
    from collective.clients.reports import definition

    reports = [_listed(name, path) for name, path in definition.paths(_folders(args)).items()]
    columns = ("name", "description", "file")
    rows = [list(report.values()) for report in reports]
    width = max(len(report["name"]) for report in reports)

    def text() -> str:
        return "".join(f"{report['name']:<{width}}   {escape_controls(report['description'])}\n" for report in reports)

    output.show(args, Output("report-list", {"reports": reports}, columns, rows, text))
    return 0


def _listed(name: str, path: Path) -> dict[str, Any]:
    """Return the entry of a report; one that is invalid is described as such."""
    from collective.clients.reports import definition

    try:
        report = definition.read(path)
    except ConfigError as error:
        return {"name": name, "description": f"cannot be used: {error}", "file": str(path)}
    return {"name": name, "description": report.description or report.title, "file": str(path)}


def _show(args: argparse.Namespace, name: str) -> int:
    from collective.clients.reports import definition
    from collective.yaml_file import read_text

    report = definition.find(name, _folders(args))
    document = {"name": report.name, "file": report.path, "text": read_text(Path(report.path))}
    rows = [list(document.values())]
    output.show(args, Output("report-show", document, list(document), rows, lambda: document["text"]))
    return 0


def _folders(args: argparse.Namespace) -> list[Path]:
    """Return the folders of the user's reports; none without a configuration."""
    try:
        return options.client_config(args).reports
    except ConfigError:
        if args.words[0] in ("list", "show"):
            return []
        raise
