"""What a call reports while it runs, for a record of it, and what others have ordered by the record.

A record is given to `Fleet.call`. Its methods are called in the thread of the iterating program, in this order:
`begin`, then the others in turn, then `end`. They must not raise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collective.fleet.call import Call
    from collective.fleet.outcomes import Outcomes
    from collective.fleet.pace import Pace
    from collective.messages import Reply


@dataclass(frozen=True)
class Ordered:
    """What others have ordered: reach no further node while `paused`, or never again because of `stopped`.

    `lost` is why this caller must not go on at all: it does not even wait for the nodes that are at work.
    """

    paused: bool = False
    stopped: str = ""
    lost: str = ""


NOTHING_ORDERED = Ordered()
INTERRUPTED = "interrupted"  # why a call was stopped by Ctrl-C or a signal
NEVER = float("inf")


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

    def sent(self, request_id: str, nodes: Sequence[str], step: str = "", *, further: bool = False) -> bool:
        """Take the nodes of a wave before it is sent; return False when it must not be sent, as `ordered` then says.

        `step` is the name of a hook. With `further`, it is the next step of nodes that are at work.
        """

    def received(self, reply: Reply) -> None:
        """Take a valid, new reply."""

    def silent(self, nodes: Sequence[str]) -> None:
        """Take nodes that are not waited for any more."""

    def gate(self, wave: int, closed: str) -> None:
        """Take the result of the gates: why they are closed, empty when they are open. `wave` is the one before."""

    def ordered(self) -> Ordered:
        """Return what others have ordered."""

    def wake(self) -> float:
        """Return after how many seconds `ordered` should be called again at the latest."""

    def end(self, call: EndedCall) -> None:
        """Take the call with the outcome of every node."""


class NoRecord:
    """Records nothing."""

    def begin(self, call: Call, pace: Pace) -> None:
        """Ignore the call."""

    def sent(self, request_id: str, nodes: Sequence[str], step: str = "", *, further: bool = False) -> bool:  # noqa: ARG002 - a protocol
        """Ignore a wave."""
        return True

    def received(self, reply: Reply) -> None:
        """Ignore a reply."""

    def silent(self, nodes: Sequence[str]) -> None:
        """Ignore silent nodes."""

    def gate(self, wave: int, closed: str) -> None:
        """Ignore gates."""

    def ordered(self) -> Ordered:
        """Return that nothing is ordered."""
        return NOTHING_ORDERED

    def wake(self) -> float:
        """Return that there is nothing to look at."""
        return NEVER

    def end(self, call: EndedCall) -> None:
        """Ignore the end."""


NO_RECORD = NoRecord()


class JoinedRecord(NoRecord):
    """Records several calls as one: the begin of the first, all waves and replies, and one end."""

    def __init__(self, record: CallRecord) -> None:
        self._record = record
        self._began = False

    def begin(self, call: Call, pace: Pace) -> None:
        """Take the first call."""
        if not self._began:
            self._record.begin(call, pace)
        self._began = True

    def sent(self, request_id: str, nodes: Sequence[str], step: str = "", *, further: bool = False) -> bool:
        """Take a wave."""
        return self._record.sent(request_id, nodes, step, further=further)

    def received(self, reply: Reply) -> None:
        """Take a reply; the last one of a node counts."""
        self._record.received(reply)

    def end(self, call: EndedCall) -> None:
        """Ignore the end of one call."""

    def close(self, call: EndedCall) -> None:
        """Take the end of all calls."""
        if self._began:
            self._record.end(call)
