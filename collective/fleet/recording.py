"""What a call reports while it runs, for a record of it.

A record is given to `Fleet.call`. Its methods are called in the thread of the iterating program, in this order:
`begin`, then `sent` and `received` in turn, then `end`. They must not raise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collective.fleet.call import Call
    from collective.fleet.pace import Pace
    from collective.messages import Reply


class CallRecord(Protocol):
    """Takes the events of one call."""

    def begin(self, call: Call, pace: Pace) -> None:
        """Take the call before anything is sent."""

    def sent(self, request_id: str, nodes: Sequence[str]) -> None:
        """Take the nodes of a wave before it is sent."""

    def received(self, reply: Reply) -> None:
        """Take a valid, new reply."""

    def end(self, call: Call) -> None:
        """Take the call with the outcome of every node."""


class NoRecord:
    """Records nothing."""

    def begin(self, call: Call, pace: Pace) -> None:
        """Ignore the call."""

    def sent(self, request_id: str, nodes: Sequence[str]) -> None:
        """Ignore a wave."""

    def received(self, reply: Reply) -> None:
        """Ignore a reply."""

    def end(self, call: Call) -> None:
        """Ignore the end."""


NO_RECORD = NoRecord()
