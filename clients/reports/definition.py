"""The YAML file of a report: `schemas/report.json` describes its keys, `crpc report show NAME` prints one.

title: Hardware
source: nodes                        facts, classes and agents of all known nodes; or an action with inputs:
{agent: package, action: status, inputs: {package: bash}}
columns:
- {heading: Node, value: identity}
- {heading: Memory, value: facts.memory, format: bytes}
sort: [-Memory]
totals: {Memory: sum}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from collective.errors import ConfigError, UsageError
from collective.ownership import replaceable
from collective.suggestions import suggest

NODES = "nodes"  # the source that needs no request, where there is a registry
_SUFFIXES = (".yaml", ".yml", ".j2")


@dataclass(frozen=True)
class Column:
    """A column: `value` is a dotted path into a row, `format` one of the functions in `content`."""

    heading: str
    value: str
    format: str = ""
    align: str = "left"


@dataclass(frozen=True)
class Report:
    """The content of a report's file; `path` is where it was read from."""

    name: str
    path: str
    title: str
    description: str = ""
    source: str | dict[str, Any] = NODES
    filter: str | None = None
    where: str | None = None
    expand: str | None = None
    columns: list[dict[str, Any]] = field(default_factory=list)
    collapse: bool = False
    differs: str | None = None
    sort: list[str] = field(default_factory=list)
    group: str | None = None
    totals: dict[str, str] = field(default_factory=dict)
    bars: list[str] = field(default_factory=list)
    page_length: int = 0
    page_heading: str | None = None
    page_body: str | None = None
    template: str | None = None

    @cached_property
    def layout(self) -> list[Column]:
        """The columns as values."""
        return [Column(**column) for column in self.columns]

    @property
    def is_template(self) -> bool:
        """Whether the report is written by templates."""
        return self.template is not None or self.page_body is not None


def find(name: str, folders: Sequence[Path]) -> Report:
    """Return the report in the file `name`, or the one with this name: from `folders`, or a shipped one.

    Raises UsageError for an unknown name, and ConfigError for a file that is invalid.
    """
    if "/" in name or name.endswith(_SUFFIXES):
        return read(Path(name))
    known = paths(folders)
    if name not in known:
        hint = suggest(name, known, f"reports: {', '.join(known)}")
        raise UsageError(f"unknown report '{name}' ({hint})")
    path = known[name]
    if path.parent != _shipped() and (
        problem := replaceable(path)
    ):  # it can name any action, run in this caller's name
        raise ConfigError(f"{path}: not used: {problem}")
    return read(path)


def paths(folders: Sequence[Path]) -> dict[str, Path]:
    """Return the file of each report by name, sorted; own reports hide shipped ones with the same name."""
    found: dict[str, Path] = {}
    for folder in (*folders, _shipped()):
        for path in sorted(folder.glob("*.yaml")):
            found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def _shipped() -> Path:
    return Path(__file__).parent / "shipped"


def read(path: Path) -> Report:
    """Return the report in a YAML file, or in a Jinja2 template that is all of it; raise ConfigError for an error."""
    from collective import schemas
    from collective.json_schema import first_error, validator
    from collective.yaml_file import read_text, read_yaml

    if path.suffix == ".j2":
        return Report(path.stem, str(path), path.stem, template=read_text(path))
    values = read_yaml(path)
    error = first_error(validator(schemas.load("report-file")), values)
    if error is not None:
        where = ".".join(str(step) for step in error.absolute_path)
        if where == "source":
            raise ConfigError(f"{path}: source: must be 'nodes', or a mapping with agent and action")
        raise ConfigError(f"{path}: {where}: {error.message}" if where else f"{path}: {error.message}")
    report = Report(path.stem, str(path), **values)
    _check(report)
    return report


def _check(report: Report) -> None:
    """Raise ConfigError for keys that do not fit together."""
    headings = [column.heading for column in report.layout]
    if not headings and not report.is_template:
        raise ConfigError(f"{report.path}: columns: missing (or use page_body or template)")
    if repeated := next((one for one in headings if headings.count(one) > 1), None):
        raise ConfigError(f"{report.path}: columns: heading '{repeated}' is used twice")
    known = [*headings, *(("Nodes",) if report.collapse else ())]
    named = {
        "sort": [one.removeprefix("-") for one in report.sort],
        "totals": list(report.totals),
        "bars": report.bars,
        "group": [report.group] if report.group else [],
    }
    for key, names in named.items():
        for name in names:
            if name not in known:
                hint = suggest(name, known, f"headings: {', '.join(known)}")
                raise ConfigError(f"{report.path}: {key}: there is no column '{name}' ({hint})")
