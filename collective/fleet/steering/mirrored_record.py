"""Record a call in a shared record, and a copy on this machine, for `crpc show`, `retry` and `diff`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from collective.fleet.recording import CallRecord, Ordered

if TYPE_CHECKING:
    from collective.fleet.call import Call
    from collective.fleet.pace import Pace
    from collective.fleet.recording import EndedCall
    from collective.messages import Reply


class MirroredRecord:
    """Writes to `first`, which decides, and then to `copy`."""

    def __init__(self, first: CallRecord, copy: CallRecord) -> None:
        self._first = first
        self._copy = copy

    def begin(self, call: Call, pace: Pace) -> None:
        """Take the call; the copy gets what earlier callers have reached."""
        self._first.begin(call, pace)
        self._copy.begin(call, pace)
        if call.reached_before:
            self._copy.sent(call.request.id, sorted(call.reached_before))
            for reply in call.outcomes.replies.values():
                self._copy.received(reply)

    def sent(self, request_id: str, nodes: Sequence[str], step: str = "", *, further: bool = False) -> bool:
        """Take a wave, and return whether it may be sent."""
        if not self._first.sent(request_id, nodes, step, further=further):
            return False
        return self._copy.sent(request_id, nodes, step, further=further)

    def received(self, reply: Reply) -> None:
        """Take a reply."""
        self._first.received(reply)
        self._copy.received(reply)

    def silent(self, nodes: Sequence[str]) -> None:
        """Take silent nodes."""
        self._first.silent(nodes)
        self._copy.silent(nodes)

    def gate(self, wave: int, closed: str) -> None:
        """Take the result of the gates."""
        self._first.gate(wave, closed)
        self._copy.gate(wave, closed)

    def ordered(self) -> Ordered:
        """Return what others have ordered."""
        return self._first.ordered()

    def wake(self) -> float:
        """Return when to look for orders."""
        return self._first.wake()

    def end(self, call: EndedCall) -> None:
        """Take the end."""
        self._first.end(call)
        self._copy.end(call)
