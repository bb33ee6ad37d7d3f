"""What a call reports while it runs, for a record of it.

A record is given to `Fleet.call`. Its methods are called in the thread of the iterating program, in this order:
`begin`, then `sent` and `received` in turn, then `end`. They must not raise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collective.fleet.call import Call
    from collective.fleet.outcomes import Outcomes
    from collective.fleet.pace import Pace
    from collective.messages import Reply


class EndedCall(Protocol):
    """What is recorded of a call that has ended; `Call` describes the members."""

    @property
    def outcomes(self) -> Outcomes:
        """The outcome of every node."""

    @property
    def absent(self) -> list[str]:
        """The nodes that have no queue."""

    @property
    def stopped(self) -> str:
        """Why the call ended early; empty if it did not."""

    @property
    def cut_short(self) -> bool:
        """Whether nodes could still have answered."""

    @property
    def total_ms(self) -> float:
        """The duration in milliseconds."""


class CallRecord(Protocol):
    """Takes the events of one call."""

    def begin(self, call: Call, pace: Pace) -> None:
        """Take the call before anything is sent."""

    def sent(self, request_id: str, nodes: Sequence[str]) -> None:
        """Take the nodes of a wave before it is sent."""

    def received(self, reply: Reply) -> None:
        """Take a valid, new reply."""

    def end(self, call: EndedCall) -> None:
        """Take the call with the outcome of every node."""


class NoRecord:
    """Records nothing."""

    def begin(self, call: Call, pace: Pace) -> None:
        """Ignore the call."""

    def sent(self, request_id: str, nodes: Sequence[str]) -> None:
        """Ignore a wave."""

    def received(self, reply: Reply) -> None:
        """Ignore a reply."""

    def end(self, call: EndedCall) -> None:
        """Ignore the end."""


NO_RECORD = NoRecord()


class JoinedRecord:
    """Records several calls as one: the begin of the first, all waves and replies, and one end."""

    def __init__(self, record: CallRecord) -> None:
        self._record = record
        self._began = False

    def begin(self, call: Call, pace: Pace) -> None:
        """Take the first call."""
        if not self._began:
            self._record.begin(call, pace)
        self._began = True

    def sent(self, request_id: str, nodes: Sequence[str]) -> None:
        """Take a wave."""
        self._record.sent(request_id, nodes)

    def received(self, reply: Reply) -> None:
        """Take a reply; the last one of a node counts."""
        self._record.received(reply)

    def end(self, call: EndedCall) -> None:
        """Ignore the end of one call."""

    def close(self, call: EndedCall) -> None:
        """Take the end of all calls."""
        if self._began:
            self._record.end(call)
