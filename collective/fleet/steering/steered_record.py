"""Write a call to its record while it runs, and obey what others have ordered there.

    sent      appended before the wave is sent: if an order, or a takeover, was appended before, the wave is not sent
    replies   appended together, soon after, and always before the next wave

A call whose record cannot be written on its own machine goes on without it, as with every saved run. One whose shared
record cannot be written stops, because another caller may take the run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from collective.errors import TransportError
from collective.fleet.recording import INTERRUPTED, NEVER, NOTHING_ORDERED, NoRecord, Ordered
from collective.fleet.runs import events
from collective.fleet.steering.lease import RunLease
from collective.fleet.steering.run_log import Event, RunLog, RunProgress
from collective.fleet.steering.run_state import RunState

if TYPE_CHECKING:
    from collective.fleet.call import Call
    from collective.fleet.pace import Pace
    from collective.fleet.recording import EndedCall
    from collective.messages import Reply

log = logging.getLogger(__name__)

_MOST_REPLIES = 200  # that are appended together


@dataclass(frozen=True)
class RecordLimits:
    """How much a record holds: the characters of the outputs of one reply, and of all. Larger outputs are omitted.

    `delay` is the number of seconds until a reply is in the record at the latest.
    """

    reply: int
    size: int
    delay: float


MOST_OUTPUT = 64 * 1024  # characters of the outputs of one reply in a shared record
MOST_OUTPUTS = 100 * 1024 * 1024  # of all replies
SHARED = RecordLimits(MOST_OUTPUT, MOST_OUTPUTS, delay=1.0)


class OpenedRun(NamedTuple):
    """A record that this caller writes: its events, its lease, and what the events say so far."""

    log: RunLog
    lease: RunLease
    state: RunState


OpenRun = Callable[["Call", "Pace"], OpenedRun]


class SteeredRecord(NoRecord):
    """The record of one call, which `open_run` opens when the call begins.

    With `leaves`, a call that is interrupted stays open for another caller.

    `poll` is the number of seconds between two looks for orders; `now` returns the server's time in Unix seconds.
    """

    def __init__(
        self,
        open_run: OpenRun,
        *,
        poll: float,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        limits: RecordLimits = SHARED,
    ) -> None:
        self.leaves = False
        self._open_run = open_run
        self._opened: OpenedRun | None = None
        self._poll = poll
        self._limits = limits
        self._size = 0
        self._clock = clock
        self._now = now
        self._unwritten: list[Event] = []
        self._since = 0.0  # when the first of them was added
        self._looked = clock()
        self._lost = ""
        self._left = False
        self._disabled = False
        self._call: Call | None = None

    def begin(self, call: Call, pace: Pace) -> None:
        """Open the record. Raises TransportError when a shared one cannot be written: nothing has been sent yet."""
        self._call = call
        try:
            self._opened = self._open_run(call, pace)
        except OSError as error:
            self._disable(error)

    def sent(self, request_id: str, nodes: Sequence[str], step: str = "", *, further: bool = False) -> bool:
        """Append a wave; return False when it must not be sent."""
        call = self._call
        assert call is not None  # noqa: S101 - begin comes first
        event = events.sent(request_id, nodes, len(call.outcomes.expected), step, self._now())
        while not self._disabled:
            if not self._may_send(further):
                return False
            found = self._append([*self._unwritten, event])
            if found is None:
                continue
            if not found:
                self._unwritten.clear()
                return not self._problem()
            self._apply(found)
        return True

    def received(self, reply: Reply) -> None:
        """Add a reply; large outputs are omitted."""
        assert self._call is not None  # noqa: S101 - begin comes first
        size = len(str(reply.data))
        cut = size > self._limits.reply or self._size + size > self._limits.size
        self._size += 0 if cut else size
        self._add(events.reply(reply, self._call.action, cut=cut))
        if not self._limits.delay:
            self._flush()

    def silent(self, nodes: Sequence[str]) -> None:
        """Add nodes that are not waited for any more."""
        self._add(events.silent(nodes))

    def gate(self, wave: int, closed: str) -> None:
        """Append the result of the gates."""
        self._add(events.gate(wave, closed, self._now()))
        self._flush()

    def ordered(self) -> Ordered:
        """Look for orders if it is time to, and return what is ordered."""
        if self._opened is None:
            return NOTHING_ORDERED
        now = self._clock()
        if self._unwritten and (now >= self._since + self._limits.delay or len(self._unwritten) >= _MOST_REPLIES):
            self._flush()
        if now >= self._looked + self._poll:
            self._look()
        self._report()
        self._problem()
        if self._disabled:
            return NOTHING_ORDERED
        state = self._opened.state
        return Ordered(paused=bool(state.paused), stopped=state.stopped, lost=self._lost)

    def wake(self) -> float:
        """Return when to look for orders again."""
        if self._disabled or self._lost:
            return NEVER
        waiting = self._call is not None and self._call.progress.waiting + self._call.progress.retrying
        due = [
            self._looked + self._poll if waiting else NEVER,
            *([self._since + self._limits.delay] if self._unwritten else []),
        ]
        return max(0.0, min(due) - self._clock())

    def leave(self) -> None:
        """End the lease of a run that is not complete, so that another caller can take it at once."""
        self._flush()
        self._left = True
        if self._opened:
            self._opened.lease.release(None)

    def end(self, call: EndedCall) -> None:
        """Append the outcomes, and end the lease."""
        if self._left or self._opened is None:
            return
        if self.leaves and call.stopped == INTERRUPTED:
            self.leave()
            return
        last = events.end(call, self._now())
        self._unwritten += [events.missing(call), last]
        self._flush()
        self._opened.lease.release(None if self._unwritten else last)

    # -- the record

    @property
    def _run(self) -> OpenedRun:
        assert self._opened is not None  # noqa: S101 - begin comes first
        return self._opened

    def _may_send(self, further: bool) -> bool:
        """Return whether a wave may be sent; nodes that are at work go on although it is paused or stopped."""
        state = self._run.state
        return not self._problem() and (further or not (state.paused or state.stopped))

    def _problem(self) -> str:
        """Return why this caller must not go on; empty if it may."""
        if not self._lost and not self._disabled and (problem := self._run.lease.problem):
            self._lost = f"{problem} (crpc run list)"
        return self._lost

    def _add(self, event: Event) -> None:
        if not self._unwritten:
            self._since = self._clock()
        self._unwritten.append(event)

    def _flush(self) -> None:
        """Append what is not in the record yet."""
        while self._unwritten and not self._lost and not self._disabled:
            found = self._append(self._unwritten)
            if found is None:
                continue
            if not found:
                self._unwritten.clear()
            self._apply(found)

    def _look(self) -> None:
        self._looked = self._clock()
        if self._lost or self._disabled:
            return
        try:
            before = self._run.state.paused
            self._apply(self._run.log.news())
            self._report()
            self._run.lease.renew(at_once=before != self._run.state.paused)  # lists show it at once
        except TransportError as error:  # the lease ends unless a later look succeeds
            log.warning("run.not_read", extra={"error": f"run {self._run.state.run[:8]}: {error}"})
        except OSError as error:
            self._disable(error)

    def _append(self, new: Sequence[Event]) -> list[Event] | None:
        """Append events; return those of others that precede them, and None when the record cannot be written."""
        try:
            return self._run.log.append(new)
        except TransportError as error:
            self._lost = f"the record of the run cannot be written: {error}"
        except OSError as error:
            self._disable(error)
        except (TypeError, ValueError, RecursionError):  # no reply is nested more than MAX_DEPTH levels
            self._unwritten = [event for event in self._unwritten if event["event"] != "reply"]
            log.debug("run.line_omitted")
        return None

    def _apply(self, found: Sequence[Event]) -> None:
        state, lease = self._run.state, self._run.lease
        state.apply(found)
        if state.holder != lease.holder.id:
            lease.lose()
            self._lost = f"'{state.holder_name}' has taken the run"

    def _disable(self, error: OSError) -> None:
        text = f"the run cannot be saved: {error.strerror or error}"
        log.warning("run.not_saved", extra={"error": f"{text} (--no-save omits this warning)"})
        self._disabled = True

    def _report(self) -> None:
        if self._call is None or self._opened is None:
            return
        found = self._call.progress
        counts = {"ok": found.ok, "failed": found.failed, "silent": found.silent, "running": found.running}
        counts["waiting"] = found.waiting
        paused = found.paused or bool(self._opened.state.paused)
        self._opened.lease.report(RunProgress(paused, found.wave, found.waves, counts))
