"""Repeat a call and show each result: `--watch`.

    send ─► print what has changed ─► pause ─► send …

People are notified when a round fails after one that did not, and of the end of a watch whose last round was OK.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from collective.clients import output, streams
from collective.clients.prepared_call import PreparedCall, send
from collective.clients.render.formatting import Paint
from collective.clients.render.view import Screen
from collective.clients.repeated_call import RoundClock
from collective.clients.results import CallOutput, interruptible, show_results
from collective.clients.streams import notice, write
from collective.errors import CollectiveError
from collective.exit_codes import FAILED, OK, STOPPED
from collective.text import plural

if TYPE_CHECKING:
    from collective.fleet.call import Call
    from collective.fleet.fleet import Fleet


class Watch:
    """Repeats a call and shows each result, on a terminal in place, elsewhere the lines that changed."""

    def __init__(self, args: argparse.Namespace, fleet: Fleet, prepared: PreparedCall, clock: RoundClock) -> None:
        self._args = args
        self._fleet = fleet
        self._prepared = prepared
        self._clock = clock
        self._lines: list[str] | None = None
        self._code = STOPPED  # of the last complete round
        self._last: Call | None = None
        self._failed = False  # whether people have been notified that it fails
        args.no_save = True  # hundreds of equal runs would hide the others
        args.quiet = args.no_pager = True

    def run(self) -> int:
        """Repeat until Ctrl-C or the end of `--for`; return the exit code of the last complete call."""
        with interruptible(), suppress(KeyboardInterrupt):
            self._repeat()
        if self._last and not self._failed:
            self._prepared.notifier.ended(self._last, self._code)
        self._prepared.notifier.close()
        return self._code

    def _repeat(self) -> None:
        """Make a round at each interval, until the end of `--for`."""
        began = self._clock.now()
        while True:
            due = self._clock.now() + self._args.watch
            self._round()
            left = due - self._clock.now()
            if self._args.at_most and due - began >= self._args.at_most:
                return
            self._clock.wait(max(0.0, left))

    def _round(self) -> None:
        """Make the call once, and show it; notify when it fails after one that did not."""
        why = ""
        try:
            self._last = self._call()
            self._code = self._last.outcomes.exit_code()
        except CollectiveError as error:
            if self._last is None:
                raise
            why = str(error)
            notice(why)
            self._code = FAILED
        failed, self._failed = self._failed, self._code != OK
        if self._failed and not failed:
            self._prepared.notifier.ended(self._last, self._code, why)

    def _call(self) -> Call:
        call = send(self._args, self._fleet, self._prepared)
        call.wait()
        shown = CallOutput(call, self._args)
        if self._args.output == "text":
            self._show(shown)
        else:
            show_results(shown)
            sys.stdout.flush()
        return call

    def _show(self, shown: CallOutput) -> None:
        paint, terminal = output.paint(self._args), sys.stdout.isatty()
        buffer = io.StringIO()
        shown.write("text", Screen(buffer, columns=output.terminal_columns(sys.stdout)))
        lines = [line for line in buffer.getvalue().splitlines() if line.strip()]
        marked = list(changed_lines(self._lines, lines, paint, everything=terminal))
        if terminal:
            streams.clear_screen(sys.stdout)
            marked = _fitting(marked, shutil.get_terminal_size().lines - 2)  # without the heading and the cursor's line
        if terminal or self._lines is None or marked:
            heading = f"{time.strftime('%H:%M:%S')}, every {self._args.watch:g} s"
            write("".join(f"{line}\n" for line in (paint("bold", heading), *marked)))
            sys.stdout.flush()
        self._lines = lines


def changed_lines(before: list[str] | None, now: list[str], paint: Paint, *, everything: bool) -> Iterator[str]:
    """Yield the lines that are new as `+ line` and those that are gone as `- line`; with `everything` also the others.

    Without a result before, all lines are yielded.
    """
    if before is None:
        yield from (f"  {line}" for line in now)
        return
    old, new = Counter(before), Counter(now)
    yield from (paint("red", f"- {line}") for line in (old - new).elements())
    added = new - old
    for line in now:
        if added[line]:
            added[line] -= 1
            yield paint("green", f"+ {line}")
        elif everything:
            yield f"  {line}"


def _fitting(lines: list[str], room: int) -> list[str]:
    """Return at most `room` lines, the last one with the number of those that are hidden."""
    if len(lines) <= room:
        return lines
    shown = max(0, room - 1)
    return [*lines[:shown], f"  … {plural(len(lines) - shown, 'more line')} (use a larger terminal, or --where)"]
