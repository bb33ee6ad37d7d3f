"""Lay out a table for a terminal: share its width out among the columns, and cut what does not fit with ….

    Node          Status    Message                                 Exit Code
    ------------  --------  --------------------------------------  -----------
    web1.my.net   ok        OK                                      0

Without a width, for files and `--wide`, nothing is cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from collective.clients.render.width import cut, pad, width

_GAP = "  "
_LEAST = 5  # columns of the narrowest column that is cut
_FIRST = 40  # percent of the terminal that the first column may take before it is cut
_LOOKED_AT = 1000  # characters of a cell whose width is measured, when the table is fitted

Row = Sequence[str]


def table(heading: Row, rows: Sequence[Row], columns: int | None, right: Iterable[int] = ()) -> Iterator[str]:
    """Yield the lines of a table of at most `columns`: heading, dashes and rows; `right` are columns of numbers.

    Columns for which there is no room at all are named below the table. Cells are escaped text of one line.
    """
    every = [heading, *rows]
    needed = [max(_width(row[place], columns) for row in every) for place in range(len(heading))]
    widths = needed if columns is None else fitted(needed, columns)
    numbers = set(right)
    for line in (heading, ["-" * size for size in widths], *rows):
        cells = zip(line, widths, strict=False)
        yield _GAP.join(
            pad(cell if columns is None else cut(cell[: _LOOKED_AT + 1], size), size, right=place in numbers)
            for place, (cell, size) in enumerate(cells)
        ).rstrip()
    if hidden := heading[len(widths) :]:
        yield f"(not shown: {', '.join(hidden)}; use --wide or --fields)"


def fitted(needed: Sequence[int], columns: int) -> list[int]:
    """Return the widths of as many columns as fit; narrow ones keep theirs, the others share what is left."""
    widths = list(needed)
    while len(widths) > 1 and sum(min(size, _LEAST) for size in widths) + len(_GAP) * (len(widths) - 1) > columns:
        widths.pop()
    left = columns - len(_GAP) * (len(widths) - 1)
    if len(widths) > 1:
        widths[0] = min(widths[0], max(_LEAST, left * _FIRST // 100, left - sum(widths[1:])))
    while sum(widths) > left:
        share, wide = _share(widths, left)
        if not wide:
            break
        for place in wide:
            widths[place] = share
        for place in wide[: left - sum(widths)]:
            widths[place] += 1
    return widths


def _share(widths: Sequence[int], left: int) -> tuple[int, list[int]]:
    """Return the equal share of the columns that are wider than it, and their places."""
    wide = list(range(len(widths)))
    while True:
        share = max(1, (left - sum(size for place, size in enumerate(widths) if place not in wide)) // len(wide))
        kept = [place for place in wide if widths[place] > share]
        if len(kept) == len(wide) or not kept:
            return share, kept
        wide = kept


def _width(cell: str, columns: int | None) -> int:
    return width(cell if columns is None else cell[:_LOOKED_AT])
