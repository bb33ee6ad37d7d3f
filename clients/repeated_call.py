"""Repeat a call: `--until 'EXPR'` asks each node again until its reply matches; `--watch` is in watched_call.py.

    send ─► replies that match are kept ─► pause ─► send to the other nodes … ─► all match, or --for is over

Only actions that the DDL marks as idempotent are repeated.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from collective.clients import options
from collective.clients.prepared_call import PreparedCall, send
from collective.clients.render.records import of_reply, where_rows
from collective.clients.results import CallOutput, interruptible, show_results
from collective.clients.streams import notice
from collective.clients.view_options import read_where
from collective.errors import TransportError
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
        from collective.clients.watched_call import Watch

        return Watch(args, fleet, prepared, clock).run()
    return Until(args, fleet, prepared, clock).run()


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
        notifier = self._prepared.notifier
        total, pending = self.collect()
        code, why = exit_code_until(total, pending), self._unmatched(pending)
        notifier.ended(total, code, total.stopped or why)
        show_results(CallOutput(total, self._args))
        for line in (total.stopped and f"stopped: {total.stopped}", why):
            if line:
                notice(line)
        notifier.close()
        return code

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

    def _unmatched(self, pending: list[str]) -> str:
        """Return which nodes did not match in one line; an empty string if all did."""
        if not pending:
            return ""
        return f"{plural(len(pending), 'node')} did not match {self._args.until!r}: {fold_any(pending)}"


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
        self.action, self.dry_run, self.request = first.action, first.dry_run, first.request
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
