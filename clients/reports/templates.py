"""Jinja2 templates of reports, in a sandbox: no file, module or attribute of Python is reachable.

    {{ node.identity | column(17) }} {{ node.facts.customer | column(12) }}

`column(width)` pads and cuts as the fields of Perl formats did, `bytes`, `duration` and the other formats of columns
are filters too. A member that a row does not have is an empty string, and an
unknown variable is an error.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from jinja2 import ChainableUndefined, meta
from jinja2.defaults import DEFAULT_NAMESPACE

from collective.clients.render.formatting import in_words
from collective.clients.render.width import head, pad
from collective.clients.reports.content import FORMATS, Content, shown
from collective.clients.reports.definition import Column, Report
from collective.errors import ConfigError
from collective.sandbox import Sandbox, rendered
from collective.suggestions import suggest

_OWN_NAMES = frozenset({*DEFAULT_NAMESPACE, "caller", "kwargs", "varargs"})  # of Jinja2
MOST_OUTPUT = 64 * 1024 * 1024  # characters of all pages


def write(content: Content) -> str:
    """Return the text of a report with templates; raise ConfigError, naming file and key, for a wrong one."""
    report = content.report
    environment = _environment()
    if report.template is not None:
        values = _values(content, content.source_rows, 1, 1)
        return _rendered(environment, report, "template", report.template, values)
    length = report.page_length or max(1, len(content.source_rows))
    starts = range(0, max(1, len(content.source_rows)), length)
    pages = []
    for number, start in enumerate(starts, start=1):
        rows = content.source_rows[start : start + length]
        pages.append(_page(environment, content, rows, number, len(starts)))
    return "\n".join(pages)


def _page(environment: Sandbox, content: Content, rows: list[dict[str, Any]], number: int, count: int) -> str:
    report, values = content.report, _values(content, rows, number, count)
    heading = _rendered(environment, report, "page_heading", report.page_heading or "", values)
    body = [
        _rendered(environment, report, "page_body", report.page_body or "", {**values, "node": row}) for row in rows
    ]
    return "".join(one if one.endswith("\n") or not one else f"{one}\n" for one in (heading, *body))


def _values(content: Content, rows: list[dict[str, Any]], page: int, pages: int) -> dict[str, Any]:
    time = datetime.fromtimestamp(content.time).astimezone().strftime("%a %b %d %H:%M:%S %Y")
    return {"title": content.report.title, "time": time, "nodes": rows, "page": page, "pages": pages}


def _environment() -> Sandbox:
    environment = Sandbox(
        undefined=ChainableUndefined, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True, finalize=_text
    )
    environment.filters["column"] = _column
    for name in FORMATS:
        environment.filters[name] = _format(name)
    return environment


def _rendered(environment: Sandbox, report: Report, key: str, source: str, values: dict[str, Any]) -> str:
    where = f"{report.path}: {key}"
    text = rendered(environment, source, values, MOST_OUTPUT, where)
    unknown = sorted(meta.find_undeclared_variables(environment.parse(source)) - values.keys() - _OWN_NAMES)
    if unknown:
        hint = suggest(unknown[0], values, f"variables: {', '.join(values)}")
        raise ConfigError(f"{where}: unknown variable '{unknown[0]}' ({hint})")
    return text


def _text(value: Any) -> Any:
    return value if isinstance(value, str | ChainableUndefined) else in_words(value)


def _column(value: Any, width: int) -> str:
    text = "" if isinstance(value, ChainableUndefined) else in_words(value)
    return pad(head(text.replace("\n", " "), width), width)


def _format(name: str) -> Any:
    column = Column("", "", name)
    return lambda value: "" if isinstance(value, ChainableUndefined) else shown(value, column)
