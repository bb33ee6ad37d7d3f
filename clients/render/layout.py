"""Lay out a table for a terminal: share its width out among the columns, and cut what does not fit with ….

    Node          Status    Message                                 Exit Code
    ------------  --------  --------------------------------------  -----------
    web1.my.net   ok        OK                                      0

Without a width, for files and `--wide`, nothing is cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from collective.clients.render.width import cut, pad, width
from collective.text import plural

_GAP = "  "
_LEAST = 8  # columns of the narrowest column that is cut
_FIRST = 40  # percent of the terminal that the first column, the names, may take before it is cut

Row = Sequence[str]


def table(heading: Row, rows: Sequence[Row], columns: int | None, right: Iterable[int] = ()) -> Iterator[str]:
    """Yield the lines of a table of at most `columns`: heading, dashes and rows; `right` are columns of numbers.

    If there is not room for all columns, empty ones are omitted, and then the last ones; they are named below the
    table. Cells are escaped text of one line.
    """
    every = [heading, *rows]
    needed = [max(width(row[place]) for row in every) for place in range(len(heading))]
    shown = list(range(len(heading)))
    if columns is not None and not _fits(needed, columns):
        shown = [place for place in shown if place == 0 or any(row[place] for row in rows)]
        while len(shown) > 1 and not _fits([needed[place] for place in shown], columns):
            shown.pop()
    widths = [needed[place] for place in shown]
    if columns is not None:
        widths = fitted(widths, columns)
    numbers = set(right)
    lines = ([line[place] for place in shown] for line in rows)
    for cells in ([heading[place] for place in shown], ["-" * size for size in widths], *lines):
        fitting = [cell if columns is None else cut(cell, size) for cell, size in zip(cells, widths, strict=True)]
        padded = [pad(cell, widths[at], right=shown[at] in numbers) for at, cell in enumerate(fitting)]
        yield _GAP.join(padded).rstrip()
    if hidden := [name for place, name in enumerate(heading) if place not in shown]:
        note = f"({plural(len(hidden), 'column')} not shown, see --wide: {', '.join(hidden)})"
        yield note if columns is None else cut(note, columns)


def fitted(needed: Sequence[int], columns: int) -> list[int]:
    """Return the widths of columns that together fit; narrow ones keep theirs, the others share what is left."""
    widths = list(needed)
    left = columns - len(_GAP) * (len(widths) - 1)
    if len(widths) > 1:
        widths[0] = min(widths[0], max(_LEAST, left * _FIRST // 100, left - sum(widths[1:])))
        return [widths[0], *_shared(widths[1:], left - widths[0])]
    return [min(widths[0], left)]


def _fits(needed: Sequence[int], columns: int) -> bool:
    """Return whether no column has to be narrower than what is readable."""
    first = min(needed[0], max(_LEAST, columns * _FIRST // 100))
    return first + sum(len(_GAP) + min(size, _LEAST) for size in needed[1:]) <= columns


def _shared(widths: list[int], left: int) -> list[int]:
    """Return the widths, the widest ones reduced to an equal share so that all fit into `left`."""
    while sum(widths) > left:
        share, wide = _share(widths, left)
        if not wide:
            break
        widths = [share if place in wide else size for place, size in enumerate(widths)]
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
