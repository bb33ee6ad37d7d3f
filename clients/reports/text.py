"""A report as text, in pages, and as Markdown."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from collective.clients.render import table
from collective.clients.render.view import Screen
from collective.clients.reports.content import Content, Distribution, Section, shown
from collective.text import escape_controls

_BAR = 30  # columns of the longest bar
_MARKDOWN = str.maketrans({character: f"\\{character}" for character in "\\`*_{}[]<>#+-!|"})


def as_text(content: Content, screen: Screen, *, wide: bool = False) -> str:
    """Return the report as text: each page with the title and the headings of the columns."""
    pages = list(_pages(content))
    return "\n".join(
        _page(content, page, screen, wide, number if len(pages) > 1 else 0, len(pages))
        for number, page in enumerate(pages, start=1)
    ) + _end(content, screen)


def as_markdown(content: Content) -> str:
    """Return the report as Markdown; what comes from nodes is escaped."""
    parts = [f"# {_plain(content.report.title)}\n\n{content.title_line}\n"]
    for section in content.sections:
        heading = f"\n## {_plain(section.heading)}\n" if section.heading else ""
        parts.append(f"{heading}\n{_markdown_table(content, section)}")
    if len(content.sections) > 1 and (line := total_line(content)):
        parts.append(f"\n**{_plain(line)}**\n")
    for bars in content.bars:
        rows = [[_plain(value), str(count)] for value, count in bars.counts]
        parts.append(f"\n## {_plain(bars.heading)}\n\n{_markdown_rows([_plain(bars.heading), 'Rows'], rows, [1])}")
    return "".join(parts)


def cells(content: Content, rows: Sequence[Sequence[Any]]) -> list[list[str]]:
    """Return the values of rows as text."""
    return [[shown(value, column) for value, column in zip(row, content.columns, strict=True)] for row in rows]


def total_line(content: Content, section: Section | None = None) -> str:
    """Return the totals of a section, or of all rows, in one line; empty without totals."""
    totals = content.totals if section is None else section.totals
    named = zip(content.columns, totals, strict=True) if totals else ()
    texts = [f"{column.heading} {value} ({content.report.totals[column.heading]})" for column, value in named if value]
    name = "Total of all rows" if section is None and len(content.sections) > 1 else "Total"
    return f"{name}: {', '.join(texts)}" if texts else ""


def right_aligned(content: Content) -> list[int]:
    """Return the places of the columns that are aligned on the right."""
    return [place for place, column in enumerate(content.columns) if column.align == "right"]


def _pages(content: Content) -> Iterator[list[Section]]:
    """Yield the parts of sections that are on each page."""
    length = content.report.page_length
    if not length:
        yield content.sections
        return
    for section in content.sections:
        for start in range(0, max(1, len(section.rows)), length):
            last = start + length >= len(section.rows)
            yield [replace(section, rows=section.rows[start : start + length], totals=section.totals if last else [])]


def _page(content: Content, page: list[Section], screen: Screen, wide: bool, number: int, count: int) -> str:
    title = screen.paint("bold", escape_controls(content.report.title))
    place = f", page {number} of {count}" if number else ""
    parts = [f"{title}\n{content.title_line}{place}\n"]
    for section in page:
        heading = f"\n{screen.paint('bold', escape_controls(section.heading))}\n" if section.heading else ""
        parts.append(f"{heading}\n{_table(content, section.rows, screen, wide)}")
        if len(content.sections) > 1 and (line := total_line(content, section)):
            parts.append(f"\n{escape_controls(line)}\n")
    return "".join(parts)


def _end(content: Content, screen: Screen) -> str:
    """Return the totals of all rows and the distributions."""
    line = escape_controls(total_line(content))
    return "".join([*([f"\n{line}\n"] if line else []), *(f"\n{_bars(bars, screen)}" for bars in content.bars)])


def _table(content: Content, rows: Sequence[Sequence[Any]], screen: Screen, wide: bool) -> str:
    if not rows:
        return "no rows\n"
    buffer = io.StringIO()
    heading = [column.heading for column in content.columns]
    body = cells(content, rows)
    table.write_rows(heading, body, Screen(buffer, columns=screen.columns), wide=wide, right=right_aligned(content))
    return buffer.getvalue()


def _bars(bars: Distribution, screen: Screen) -> str:
    most = max((count for _, count in bars.counts), default=1)
    width = min(30, max((len(value) for value, _ in bars.counts), default=0))
    lines = [screen.paint("bold", escape_controls(bars.heading))]
    for value, count in bars.counts:
        bar = "#" * max(1, round(_BAR * count / most))
        lines.append(f"  {escape_controls(value):<{width}}  {count:>6}  {bar}")
    return "".join(f"{line}\n" for line in lines)


def _plain(text: str) -> str:
    return escape_controls(text).translate(_MARKDOWN)


def _markdown_table(content: Content, section: Section) -> str:
    if not section.rows:
        return "no rows\n"
    heading = [_plain(column.heading) for column in content.columns]
    body = [[_plain(value) for value in row] for row in cells(content, section.rows)]
    if section.totals:
        body.append([f"**{_plain(value)}**" if value else "" for value in section.totals])
    return _markdown_rows(heading, body, right_aligned(content))


def _markdown_rows(heading: Sequence[str], body: Sequence[Sequence[str]], right: Sequence[int]) -> str:
    rule = ["---:" if place in right else "---" for place in range(len(heading))]
    return "".join(f"| {' | '.join(row)} |\n" for row in (heading, rule, *body))
