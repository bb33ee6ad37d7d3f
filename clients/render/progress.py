"""The progress bar of a call: one line on standard error.

| [ =============>                     ] 12 / 47   failed 1   running 34
- [ ================================>  ] 45 / 47   failed 1   waiting for web07, web12
* [ ============================================================> ] 47 / 47   failed 1
"""

from __future__ import annotations

from collective.clients.render.formatting import PLAIN, Paint
from collective.clients.render.width import cut, width
from collective.fleet.progress import CallProgress
from collective.text import escape_controls

_SPINNER = "|/-\\"
_WIDEST = 60  # columns
_NARROWEST = 10  # columns of a bar that leaves room for counts
_AROUND = 22  # columns beside the bar: the brackets, and two numbers of five digits
_FRAME = 10  # columns around the bar, and the last one of the terminal, which some terminals wrap
_GAP = "  "  # before each count
_FEW = 3  # nodes whose names are shown when only these are awaited


def bar_width(columns: int) -> int:
    """Return the width of the bar on a terminal of `columns`; 0 if there is only room for the numbers."""
    return max(0, min(_WIDEST, columns - _AROUND))


def bar(done: int, total: int, width: int, turn: int = 0, paint: Paint = PLAIN) -> str:
    """Return the bar as text that overwrites its line; `turn` is the position of the spinner."""
    if width == 0:
        return f"\r{done} / {total}"
    complete = done >= total
    mark = "*" if complete else _SPINNER[turn % len(_SPINNER)]
    dashes = width if complete else int(done / total * width + 0.5)
    head = paint("green" if complete else "red", f" {mark} [ ")
    return f"\r{head}{'=' * dashes}>{' ' * (width - dashes)} ] {done} / {total}"


def bar_line(progress: CallProgress, columns: int, turn: int = 0, paint: Paint = PLAIN) -> str:
    """Return the bar with what is known about the nodes, in less than `columns`; names and counts give way first.

    While nodes are awaited the bar has always the same width, so that it does not jump.
    """
    done, total = progress.answered, progress.total
    size = bar_width(columns) if done >= total else min(bar_width(columns), max(_NARROWEST, columns // 4))
    room = columns - _FRAME - size - len(f"{done} / {total}")
    variants = [_notes(progress), _notes(progress, names=False), _bad(progress)]
    notes = next((notes for notes in variants if sum(len(_GAP) + width(text) for _, text in notes) <= room), None)
    if notes is None:
        return bar(done, total, bar_width(columns), turn, paint)
    return bar(done, total, size, turn, paint) + "".join(
        _GAP + (paint(color, text) if color else text) for color, text in notes
    )


def _notes(progress: CallProgress, names: bool = True) -> list[tuple[str, str]]:
    """Return what stands behind the bar, with its colours: counts that are not zero, and the last awaited names."""
    notes = _bad(progress)
    left = progress.running + progress.retrying + progress.waiting
    if names and 0 < left <= _FEW and left < progress.total and progress.awaited:
        waited = cut(", ".join(map(escape_controls, progress.awaited)), _WIDEST)
        return [*notes, ("", f"waiting for {waited}")]
    notes += [("", f"running {progress.running}")] if progress.running else []
    notes += [("", f"retrying {progress.retrying}")] if progress.retrying else []
    notes += [("", f"to send {progress.waiting}")] if progress.waiting else []
    return notes + ([("yellow", "paused")] if progress.paused else [])


def _bad(progress: CallProgress) -> list[tuple[str, str]]:
    notes = [("red", f"failed {progress.failed}")] if progress.failed else []
    return notes + ([("yellow", f"silent {progress.silent}")] if progress.silent else [])
