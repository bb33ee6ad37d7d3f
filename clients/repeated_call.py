"""Repeat a call: `--watch 5s` shows what changes, `--until 'EXPR'` asks each node again until its reply matches.

    send ─► wait for all replies ─► show what changed ─► pause ─► send …                          --watch
    send ─► replies that match are kept ─► pause ─► send to the other nodes … ─► all match, or --for is over   --until

Only actions that the DDL marks as idempotent are repeated.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from collective.clients import options, output, streams
from collective.clients.prepared_call import PreparedCall, send
from collective.clients.render.formatting import Paint
from collective.clients.render.records import of_reply, where_rows
from collective.clients.render.view import Screen
from collective.clients.results import CallOutput, interruptible, show_results
from collective.clients.streams import notice, write
from collective.clients.view_options import read_where
from collective.errors import CollectiveError, TransportError
from collective.exit_codes import FAILED, OK, SILENT, STOPPED
from collective.fleet.recording import JoinedRecord
from collective.nodesets import fold_any
from collective.text import plural

if TYPE_CHECKING:
    from collective.clients.render.records import NodeResult
    from collective.fleet.call import Call
    from collective.fleet.fleet import Fleet
    from collective.fleet.outcomes import Outcomes

_EVERY = 5.0  # seconds between two rounds
_AT_MOST = 600.0  # seconds for which --until repeats


@dataclass(frozen=True)
class RoundClock:
    """The time in seconds, and how to wait."""

    now: Callable[[], float] = time.monotonic
    wait: Callable[[float], None] = time.sleep


_CLOCK = RoundClock()


def repeat(args: argparse.Namespace, fleet: Fleet, prepared: PreparedCall, clock: RoundClock = _CLOCK) -> int:
    """Repeat a call as the options ask; return the exit code."""
    if args.watch is not None:
        return Watch(args, fleet, prepared, clock).run()
    return Until(args, fleet, prepared, clock).run()


class Watch:
    """Repeats a call and shows each result, on a terminal in place, elsewhere the lines that changed."""

    def __init__(self, args: argparse.Namespace, fleet: Fleet, prepared: PreparedCall, clock: RoundClock) -> None:
        self._args = args
        self._fleet = fleet
        self._prepared = prepared
        self._clock = clock
        self._lines: list[str] | None = None
        args.no_save = True  # hundreds of equal runs would hide the others
        args.quiet = args.no_pager = True

    def run(self) -> int:
        """Repeat until Ctrl-C or the end of `--for`; return the exit code of the last complete call."""
        began, code = self._clock.now(), STOPPED
        with interruptible():
            try:
                while True:
                    due = self._clock.now() + self._args.watch
                    code = self._round(first=code == STOPPED)
                    left = due - self._clock.now()
                    if self._args.at_most and due - began >= self._args.at_most:
                        return code
                    self._clock.wait(max(0.0, left))
            except KeyboardInterrupt:
                return code

    def _round(self, first: bool) -> int:
        try:
            call = send(self._args, self._fleet, self._prepared)
            call.wait()
        except CollectiveError as error:
            if first:
                raise
            notice(str(error))
            return FAILED
        shown = CallOutput(call, self._args)
        if self._args.output == "text":
            self._show(shown)
        else:
            show_results(shown)
            sys.stdout.flush()
        return call.outcomes.exit_code()

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


class Until:
    """Asks the nodes whose reply does not match again, and shows the last reply of every node in the end."""

    def __init__(self, args: argparse.Namespace, fleet: Fleet, prepared: PreparedCall, clock: RoundClock) -> None:
        self._args = args
        self._fleet = fleet
        self._record = JoinedRecord(options.recorder(args, fleet.config))
        self._prepared = replace(prepared, record=self._record)
        self._clock = clock
        self._wanted = read_where(args.until, "--until", prepared.action)

    def run(self) -> int:
        """Repeat until all nodes match or the time is over; return 0 when all match."""
        total, pending = self.collect()
        show_results(CallOutput(total, self._args))
        return self._end(total, pending)

    def collect(self) -> tuple[RepeatedCall, list[str]]:
        """Repeat until all nodes match or the time is over; return the last replies, and the nodes that do not."""
        deadline = self._clock.now() + (self._args.at_most or _AT_MOST)
        with interruptible():
            call = self._send(self._prepared)
            total = RepeatedCall(call)
            pending = self._pending(call, total.outcomes)
            try:
                while pending and (due := self._clock.now() + (self._args.every or _EVERY)) < deadline:
                    self._say(pending)
                    self._clock.wait(max(0.0, due - self._clock.now()))
                    self._add_round(total, pending)
                    pending = self._pending(call, total.outcomes)
            except KeyboardInterrupt:
                total.stopped = "interrupted"
        self._record.close(total)
        return total, pending

    def _add_round(self, total: RepeatedCall, pending: list[str]) -> None:
        """Ask the nodes again; an error ends this round only."""
        from collective.fleet.targets import Targets

        try:
            total.add(self._send(replace(self._prepared, targets=Targets(nodes=pending))))
        except TransportError as error:
            notice(str(error))

    def _send(self, prepared: PreparedCall) -> Call:
        call = send(self._args, self._fleet, prepared)
        call.wait()
        return call

    def _pending(self, call: Call, outcomes: Outcomes) -> list[str]:
        """Return the nodes that have not replied, or whose last reply does not match."""
        found = [of_reply(reply, call.action) for reply in outcomes.replies.values()]
        matching = {record.sender for record in where_rows(found, _members, self._wanted)}
        return sorted({*outcomes.expected, *outcomes.replies} - matching)

    def _say(self, pending: list[str]) -> None:
        if not self._args.quiet and sys.stderr.isatty():
            notice(f"{plural(len(pending), 'node')} not there yet: {fold_any(pending)}")

    def _end(self, total: RepeatedCall, pending: list[str]) -> int:
        if total.stopped:
            notice(f"stopped: {total.stopped}")
        if pending:
            notice(f"{plural(len(pending), 'node')} did not match {self._args.until!r}: {fold_any(pending)}")
        return exit_code_until(total, pending)


def exit_code_until(total: RepeatedCall, pending: list[str]) -> int:
    """Return the exit code of a call with `--until`; `pending` are the nodes that did not match."""
    if total.stopped:
        return STOPPED
    if not pending:
        return OK
    return FAILED if any(node in total.outcomes.replies for node in pending) else SILENT


class RepeatedCall:
    """Several calls of one action as one: the last reply of each node. The members are those of `Call`."""

    def __init__(self, first: Call) -> None:
        self.agent, self.collective, self.caller = first.agent, first.collective, first.caller
        self.action, self.dry_run = first.action, first.dry_run
        self.request_id = first.request_id
        self.request_ids = list(first.request_ids)
        self.started = first.started
        self.discovery_ms = first.discovery_ms
        self.total_ms = first.total_ms
        self.stopped = ""
        self.cut_short = False
        self.absent = first.absent
        self.outcomes = first.outcomes

    def add(self, call: Call) -> None:
        """Add the replies of a further call: they replace those before."""
        self.request_ids += call.request_ids
        self.total_ms = (time.time() - self.started) * 1000
        for reply in call.outcomes.replies.values():
            self.outcomes.record_again(reply)


def _members(record: NodeResult) -> dict[str, object]:
    return record.members
