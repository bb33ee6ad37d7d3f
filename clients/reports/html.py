"""A report as one HTML page that needs nothing from the network: sorted and searched in the browser.

Everything that comes from nodes is escaped by the template; a content security policy forbids what is not in the page.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined

from collective.clients.reports.content import Content
from collective.clients.reports.text import cells, right_aligned, total_line
from collective.text import escape_controls, escape_lines
from collective.version import __version__

_BREAK_ABOVE = 30  # characters; longer ones are broken, so that no column is wider than the page


def as_html(content: Content, text: str | None = None) -> str:
    """Return the page; `text` is the result of a template, and is shown as it is."""
    source = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    # The template is ours, and every value is escaped; the sandbox is for templates of reports.
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return page.from_string(source).render(
        title=escape_controls(content.report.title),
        description=escape_controls(content.report.description),
        line=content.title_line,
        version=__version__,
        text=None if text is None else escape_lines(text),
        columns=[escape_controls(column.heading) for column in content.columns],
        right=right_aligned(content),
        sections=[_section(content, place) for place in range(len(content.sections))],
        total=escape_controls(total_line(content)) if len(content.sections) > 1 else "",
        bars=[_bars(content, place) for place in range(len(content.bars))],
    )


def _section(content: Content, place: int) -> dict[str, Any]:
    section = content.sections[place]
    texts = [[escape_lines(value) for value in row] for row in cells(content, section.rows)]
    rows = [
        [
            {"text": text, "key": _key(value, text), "long": max(map(len, text.split()), default=0) > _BREAK_ABOVE}
            for text, value in zip(row, values, strict=True)
        ]
        for row, values in zip(texts, section.rows, strict=True)
    ]
    return {"heading": escape_controls(section.heading), "rows": rows, "totals": section.totals}


def _key(value: Any, text: str) -> str:
    """Return what the browser sorts a cell by: numbers as numbers, whatever their format."""
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else text


def _bars(content: Content, place: int) -> dict[str, Any]:
    bars = content.bars[place]
    most = max((count for _, count in bars.counts), default=1)
    values = [
        {"text": escape_controls(value), "count": count, "percent": round(100 * count / most, 1)}
        for value, count in bars.counts
    ]
    return {"heading": escape_controls(bars.heading), "values": values}
