"""The content of a report: rows in columns, sorted, in sections, with totals and distributions."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import mean
from typing import Any

from collective import durations
from collective.clients.render.formatting import in_words
from collective.clients.render.records import sort_key, where_rows
from collective.clients.reports.definition import Column, Report
from collective.filters import Filter, look_up
from collective.nodesets import fold_any
from collective.text import plural

COUNT = Column("Nodes", "", align="right")
MOST_BARS = 30  # values of one distribution; the others are added up


@dataclass(frozen=True)
class Section:
    """Rows with the same value of the column `group`: raw values, one for each column.

    `totals` are those of its rows, a string for each column; empty on all pages of a section but the last one.
    """

    heading: str
    rows: list[list[Any]]
    totals: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Distribution:
    """How many rows have each value of a column, the most frequent first."""

    heading: str
    counts: list[tuple[str, int]]


@dataclass(frozen=True)
class Content:
    """What a report shows. `totals` of all rows are a string for each column; `nodes` are those of the rows.

    `examined` is the number of nodes of the source, with those of which no row is shown.
    """

    report: Report
    columns: list[Column]
    sections: list[Section]
    totals: list[str]
    bars: list[Distribution]
    nodes: list[str]
    examined: int
    source_rows: list[dict[str, Any]]
    time: float

    @property
    def rows(self) -> list[list[Any]]:
        """The rows of all sections."""
        return [row for section in self.sections for row in section.rows]

    @property
    def title_line(self) -> str:
        """When the report was made, and the number of its nodes."""
        when = datetime.fromtimestamp(self.time).astimezone()
        some = f"{len(self.nodes)} of " if len(self.nodes) < self.examined else ""
        return f"{when:%Y-%m-%d %H:%M %z}, {some}{plural(self.examined, 'node')}"


def build(report: Report, rows: Iterable[dict[str, Any]], time: float) -> Content:
    """Return the content of a report from its rows; `time` is in Unix seconds."""
    source = list(rows)
    found = where_rows(source, _itself, _filter(report))
    found = _expanded(found, report.expand)
    found = _differing(found, report.differs)
    columns = list(report.layout)
    values = [[look_up(row, column.value) for column in columns] for row in found]
    if report.collapse:
        columns, values = [*columns, COUNT], _collapsed(values)
    values = _sorted(values, columns, report.sort)
    return Content(
        report,
        columns,
        _sections(values, columns, report),
        _totals(values, columns, report.totals),
        [_distribution(values, columns, heading, report.collapse) for heading in report.bars if values],
        sorted({str(row["identity"]) for row in found}),
        len({str(row["identity"]) for row in source}),
        found,
        time,
    )


def shown(value: Any, column: Column) -> str:
    """Return a value as text, in the format of its column."""
    form = FORMATS.get(column.format)
    try:
        return in_words(value) if form is None or value is None else form(value)
    except (TypeError, ValueError, OverflowError):  # a fact that is not what the report expects
        return in_words(value)


def _filter(report: Report) -> Filter | None:
    if report.where is None:
        return None
    from collective.filters.select import read_select

    return Filter(select=read_select(report.where, f"{report.path}: where"))


def _itself(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return row


def _expanded(rows: list[dict[str, Any]], path: str | None) -> list[dict[str, Any]]:
    """Return a row for each entry of the list or mapping at `path`; a node with another value there has no row."""
    if path is None:
        return rows
    found = []
    for row in rows:
        value = look_up(row, path)
        listed = value if isinstance(value, list) else ()
        entries = value.items() if isinstance(value, Mapping) else ((one, one) for one in listed)
        found += [{**row, "entry": {"key": key, "value": entry}} for key, entry in entries]
    return found


def _differing(rows: list[dict[str, Any]], path: str | None) -> list[dict[str, Any]]:
    """Return the rows whose value at `path` is not the most common one; none if all are equal."""
    if path is None:
        return rows
    keys = [json.dumps(look_up(row, path), sort_keys=True, default=str) for row in rows]
    usual = Counter(keys).most_common(1)
    return [row for row, key in zip(rows, keys, strict=True) if key != usual[0][0]]


def _collapsed(values: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Return each different row once, with the number of rows that are equal to it."""
    groups: dict[str, list[Any]] = {}
    for row in values:
        key = json.dumps(row, sort_keys=True, default=str)
        groups.setdefault(key, [*row, 0])[-1] += 1
    return list(groups.values())


def _sorted(values: list[list[Any]], columns: Sequence[Column], order: Sequence[str]) -> list[list[Any]]:
    headings = [column.heading for column in columns]
    for one in reversed(order):
        place = headings.index(one.removeprefix("-"))
        present = [row for row in values if row[place] is not None]
        absent = [row for row in values if row[place] is None]
        values = sorted(present, key=lambda row: sort_key(row[place]), reverse=one.startswith("-")) + absent
    return values


def _sections(values: list[list[Any]], columns: Sequence[Column], report: Report) -> list[Section]:
    if report.group is None or not values:
        return [Section("", values, _totals(values, columns, report.totals))]
    place = [column.heading for column in columns].index(report.group)
    found: dict[str, list[list[Any]]] = defaultdict(list)
    for row in values:
        found[shown(row[place], columns[place])].append(row)
    return [
        Section(f"{report.group}: {heading or '(none)'}", rows, _totals(rows, columns, report.totals))
        for heading, rows in sorted(found.items())
    ]


def _totals(values: list[list[Any]], columns: Sequence[Column], functions: Mapping[str, str]) -> list[str]:
    if not functions:
        return []
    totals = []
    for place, column in enumerate(columns):
        function = functions.get(column.heading)
        if function is None:
            totals.append("")
        elif function == "count":
            totals.append(str(sum(row[place] is not None for row in values)))
        else:
            numbers = [row[place] for row in values if _is_number(row[place])]
            totals.append(shown(_FUNCTIONS[function](numbers), column) if numbers else "")
    return totals


def _distribution(values: list[list[Any]], columns: Sequence[Column], heading: str, collapsed: bool) -> Distribution:
    place = [column.heading for column in columns].index(heading)
    counts: Counter[str] = Counter()
    for row in values:
        counts[shown(row[place], columns[place]) or "(none)"] += row[-1] if collapsed else 1
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    others = sum(count for _, count in ranked[MOST_BARS:])
    return Distribution(heading, ranked[:MOST_BARS] + ([("(others)", others)] if others else []))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _bytes(value: Any) -> str:
    size = float(value)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(size) < 1024 or unit == "TiB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return str(value)


def _time(value: Any) -> str:
    return datetime.fromtimestamp(float(value)).astimezone().strftime("%Y-%m-%d %H:%M:%S")


FORMATS: Mapping[str, Callable[[Any], str]] = {
    "bytes": _bytes,
    "duration": lambda value: durations.in_words(float(value)),
    "age": lambda value: f"{durations.in_words(float(value))} ago",
    "time": _time,
    "names": lambda value: fold_any([value] if isinstance(value, str) else value),
}
_FUNCTIONS: Mapping[str, Callable[[Sequence[Any]], Any]] = {
    "sum": sum,
    "average": lambda numbers: round(mean(numbers), 2),
    "min": min,
    "max": max,
}
