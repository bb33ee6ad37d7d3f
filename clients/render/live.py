"""The full-screen view of `--live`: counts by state, waves, the last failures, the awaited nodes, and the time.

service restart on 47 nodes of production                    02:11 elapsed, about 04:05 left

| [ =================>                                           ] 12 / 47   failed 1   running 5

ok 11       failed 1 (stops at 3)       silent 0       running 5       to send 30       wave 3 of 10

Last failures:
web07.my.net                             Request Aborted   nginx: configuration file test failed
Waiting for:
web[11-15].my.net
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from collective.clients.render.formatting import PLAIN, Paint
from collective.clients.render.labels import label
from collective.clients.render.progress import bar_line
from collective.clients.render.width import cut, pad, width
from collective.fleet.progress import CallProgress
from collective.messages import Reply
from collective.nodesets import fold_any
from collective.text import escape_controls

MAX_FAILURES = 100  # replies that are kept; as many are shown as fit on the screen
_INDENT = "   "
_NAMES = 40  # columns of a node's name
_LABEL = 24  # columns of a label
_FIXED = 9  # lines besides the failures


def screen_lines(
    title: str,
    progress: CallProgress,
    failures: Sequence[Reply],
    size: tuple[int, int],
    turn: int = 0,
    paint: Paint = PLAIN,
) -> list[str]:
    """Return the lines of the screen, cut to its size of columns and lines; `failures` are in order of arrival."""
    columns, height = size
    clock = _times(progress)
    room = columns - 2 - len(clock)
    lines = [f"{pad(cut(escape_controls(title), room), room)} {clock}" if room > 0 else cut(clock, columns - 1), ""]
    lines += [bar_line(progress, columns, turn, paint).removeprefix("\r"), "", *_counts(progress, columns, paint), ""]
    failed = list(_failures(failures, columns, max(1, height - _FIXED), paint))
    if failed:
        lines += [paint("bold", "Last failures:"), *failed]
    if progress.awaited:
        more = ", …" if progress.running > len(progress.awaited) else ""
        lines += [paint("bold", "Waiting for:"), cut(_INDENT + fold_any(progress.awaited) + more, columns - 1)]
    return lines[:height]


def _times(progress: CallProgress) -> str:
    left = progress.remaining
    return f"{_clock(progress.elapsed)} elapsed" + ("" if left is None else f", about {_clock(left)} left")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


def _counts(progress: CallProgress, columns: int, paint: Paint) -> list[str]:
    """Return the counts by state, on as many lines as they need."""
    limit = "" if progress.max_fail is None else f" (stops at {progress.max_fail} failed or silent)"
    parts = [
        ("green", f"ok {progress.ok}"),
        ("red" if progress.failed else "", f"failed {progress.failed}{limit}"),
        ("yellow" if progress.silent else "", f"silent {progress.silent}"),
        ("", f"running {progress.running}"),
        *([("", f"retrying {progress.retrying}")] if progress.retrying else []),
        ("", f"to send {progress.waiting}"),
        *([("", f"wave {progress.wave} of {progress.waves}")] if progress.waves > 1 else []),
        *([("yellow", "paused")] if progress.paused else []),
    ]
    lines, used = [""], 0
    for color, text in parts:
        if used and used + len(_INDENT) + width(text) >= columns:
            lines, used = [*lines, ""], 0
        lines[-1] += _INDENT + (paint(color, text) if color else text)
        used += len(_INDENT) + width(text)
    return lines


def _failures(failures: Sequence[Reply], columns: int, most: int, paint: Paint) -> Iterator[str]:
    """Yield a line for each of the last failures, the latest first."""
    shown = list(reversed(failures))[:most]
    names = [escape_controls(reply.sender) for reply in shown]
    widest = max(1, min(_NAMES, columns - len(_INDENT) - _LABEL, max(map(width, names), default=0)))
    for name, reply in zip(names, shown, strict=True):
        head = f"{_INDENT}{pad(cut(name, widest), widest)}  "
        text = label(reply.statuscode, reason=reply.reason)
        room = columns - 1 - width(head) - len(text)
        message = cut(escape_controls(reply.statusmsg), max(0, room - 2))
        yield head + label(reply.statuscode, paint, reply.reason) + (f"  {message}" if room > 2 else "")
