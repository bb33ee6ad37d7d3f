"""What to show of results, and where: the values of the view options, and the screen or file that is written to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from collective.clients.render.formatting import PLAIN, Paint

if TYPE_CHECKING:
    from collective.filters import Filter


@dataclass(frozen=True)
class Screen:
    """A stream to write results to, and what colours them; `columns` is None when it is not a terminal."""

    stream: TextIO
    paint: Paint = PLAIN
    columns: int | None = None


@dataclass(frozen=True)
class View:
    """What to show of results; see `clients/view_options.py` for the options.

    `display` is ok, failed, all, or None: as the DDL of the action says. `fields`, `sort` and `group_by` are paths:
    members of a reply, outputs, or `data.` and an output; in `sort`, `-` before a path reverses the order. `query` is a
    compiled JMESPath expression. `only` is `count`, `names`, `folded`, or empty.
    """

    display: str | None = None
    group: bool = True
    group_by: tuple[str, ...] = ()
    diff: bool = False
    fields: tuple[str, ...] = ()
    sort: tuple[str, ...] = ()
    where: Filter | None = None
    query: Any = None
    only: str = ""
    wide: bool = False
    verbose: bool = False
    quiet: bool = False

    @property
    def selects(self) -> bool:
        """Whether rows are selected, cut or ordered."""
        return bool(self.fields or self.sort or self.where)
