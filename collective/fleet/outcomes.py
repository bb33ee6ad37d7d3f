"""Account for every node of a call, by name: each expected node ends in exactly one outcome.

    expected ── reply ──► ok | failed        not expected ── reply ──► unexpected (its reply counts like the others)
             ── none ───► silent             cannot be believed ─────► rejected
             ── not sent ► skipped

Nothing is counted that is not named first: a second reply of a node changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from collective.exit_codes import FAILED, NO_NODES, OK, SILENT, STOPPED
from collective.messages import Reply


class Outcomes:
    """Who was expected, and what became of each; times are float seconds, measured by the caller."""

    def __init__(self, expected: Iterable[str]) -> None:
        self.expected: set[str] = set(expected)
        self.replies: dict[str, Reply] = {}  # by sender, in order of arrival
        self.skipped: set[str] = set()
        self.rejected: set[str] = set()
        self.stopped = False
        self._answered = 0

    def record(self, reply: Reply) -> bool:
        """Take one reply; return whether it is news: a node's second reply changes nothing."""
        if reply.sender in self.replies:
            return False
        self.replies[reply.sender] = reply
        self._answered += reply.sender in self.expected
        self.skipped.discard(reply.sender)
        return True

    def reject(self, sender: str) -> None:
        """Note that a reply in the name of `sender` could not be believed."""
        self.rejected.add(sender)

    def skip(self, nodes: Iterable[str]) -> None:
        """Note nodes that were never sent to."""
        self.skipped.update(name for name in nodes if name not in self.replies)

    @property
    def answered(self) -> int:
        """How many of the expected nodes have answered; it costs nothing to ask after every reply."""
        return self._answered

    @property
    def waiting(self) -> set[str]:
        """Expected nodes that have not answered and were not skipped: silent, once the call is over."""
        return self.expected - self.replies.keys() - self.skipped

    @property
    def silent(self) -> list[str]:
        """The names of expected nodes that did not answer, sorted."""
        return sorted(self.waiting)

    @property
    def unexpected(self) -> list[str]:
        """The names of nodes that answered though nobody expected them, sorted."""
        return sorted(self.replies.keys() - self.expected)

    @property
    def ok(self) -> list[str]:
        """The names of nodes that did what was asked, in order of arrival."""
        return [name for name, reply in self.replies.items() if reply.ok]

    @property
    def failed(self) -> list[str]:
        """The names of nodes whose reply says that they did not, in order of arrival."""
        return [name for name, reply in self.replies.items() if not reply.ok]

    def counts(self) -> dict[str, int]:
        """Return how many nodes ended in each outcome, as `crpc --json` shows it."""
        return {
            "ok": len(self.ok),
            "failed": len(self.failed),
            "silent": len(self.silent),
            "skipped": len(self.skipped),
            "unexpected": len(self.unexpected),
            "rejected": len(self.rejected),
        }

    def exit_code(self) -> int:
        """Return the exit code that tells the truth: stopped before failed before silent."""
        if self.stopped:
            return STOPPED
        if self.failed:
            return FAILED
        if self.waiting or self.skipped:
            return SILENT
        return OK if self.replies else NO_NODES
