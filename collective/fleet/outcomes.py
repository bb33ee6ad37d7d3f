"""Record the outcome of every node of a call, by name: each expected node ends in exactly one outcome.

    expected ── reply ────► ok | failed      not expected ── reply ──► unexpected, and ok or failed
             ── no reply ─► silent           reply not verified, or to another request ──► rejected
             ── not sent ─► skipped

    in the discovery ── no answer ──────────► silent
                     ── cannot evaluate ────► not_evaluated, which counts as failed
                     ── stale or revoked ───► not_asked; silent with `expect_all`

A second reply of a node is ignored.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from collective.exit_codes import FAILED, NO_NODES, OK, SILENT, STOPPED
from collective.fleet.amounts import Amount
from collective.messages import Reply

MAX_REJECTED = 1000  # names; anyone who can write to the reply queue can invent them
_NONE: Mapping[str, str] = MappingProxyType({})


class Outcomes:
    """The expected nodes, their replies by sender in order of arrival, and what happened to the other nodes.

    `not_asked` and `not_evaluated` have the reason by name, `undiscovered` are nodes that did not answer whether they
    match. `success_threshold` is the share of OK nodes that is enough for exit code 0. `stopped` is true when the call
    ended before all nodes had been sent to and had answered or timed out.
    """

    def __init__(
        self,
        expected: Iterable[str],
        *,
        not_asked: Mapping[str, str] = _NONE,
        not_evaluated: Mapping[str, str] = _NONE,
        undiscovered: Iterable[str] = (),
        expect_all: bool = False,
        success_threshold: Amount | None = None,
    ) -> None:
        self.expected: set[str] = set(expected)
        self.not_asked = not_asked
        self.not_evaluated = not_evaluated
        self.undiscovered = tuple(undiscovered)
        self.expect_all = expect_all
        self._missing = {*self.undiscovered, *(not_asked if expect_all else ())}
        self.replies: dict[str, Reply] = {}
        self.skipped: set[str] = set()
        self.rejected: set[str] = set()
        self.success_threshold = success_threshold
        self.stopped = False
        self._answered = 0

    def record(self, reply: Reply) -> bool:
        """Record a reply; return False for a node's second reply, which is ignored."""
        if reply.sender in self.replies:
            return False
        self.replies[reply.sender] = reply
        self._answered += reply.sender in self.expected
        self.skipped.discard(reply.sender)
        return True

    def retract(self, nodes: Iterable[str]) -> None:
        """Forget the replies of nodes that are sent to again."""
        for node in nodes:
            self._answered -= self.replies.pop(node, None) is not None

    def record_again(self, reply: Reply) -> None:
        """Record a reply of a further request in place of the one before."""
        if self.replies.pop(reply.sender, None) is not None:
            self._answered -= reply.sender in self.expected
        self.record(reply)

    def reject(self, sender: str) -> None:
        """Record that a reply in the name of `sender` failed verification; the first MAX_REJECTED names are kept."""
        if len(self.rejected) < MAX_REJECTED:
            self.rejected.add(sender)

    def only(self, nodes: Collection[str]) -> Outcomes:
        """Return the outcomes of some nodes."""
        some = Outcomes(
            [name for name in nodes if name in self.expected],
            undiscovered=[name for name in nodes if name in self.silent],
        )
        for name in nodes:
            if name in self.replies:
                some.record(self.replies[name])
        some.skip([name for name in nodes if name in self.skipped])
        return some

    def skip(self, nodes: Iterable[str]) -> None:
        """Record nodes that were not sent to."""
        self.skipped.update(name for name in nodes if name not in self.replies)

    @property
    def answered(self) -> int:
        """The number of expected nodes that have answered, in constant time."""
        return self._answered

    @property
    def waiting(self) -> set[str]:
        """The expected nodes that have neither answered nor been skipped; silent once the call is over."""
        return self.expected - self.replies.keys() - self.skipped

    @property
    def silent(self) -> list[str]:
        """The names of nodes that did not answer, sorted: expected ones, and those that could be expected."""
        return sorted(self.waiting | self._missing - self.replies.keys())

    @property
    def unexpected(self) -> list[str]:
        """The names of nodes that answered and were not expected, sorted."""
        return sorted(self.replies.keys() - self.expected)

    @property
    def ok(self) -> list[str]:
        """The names of nodes on which the action succeeded, in order of arrival."""
        return [name for name, reply in self.replies.items() if reply.ok]

    @property
    def failed(self) -> list[str]:
        """The names of nodes on which it failed, in order of arrival."""
        return [name for name, reply in self.replies.items() if not reply.ok]

    def counts(self) -> dict[str, int]:
        """Return the number of nodes by outcome, as in the JSON document of a call."""
        return {
            "ok": len(self.ok),
            "failed": len(self.failed),
            "silent": len(self.silent),
            "skipped": len(self.skipped),
            "unexpected": len(self.unexpected),
            "rejected": len(self.rejected),
        }

    def exit_code(self) -> int:
        """Return the exit code of `crpc`: the worst outcome decides (stopped, failed, silent).

        When enough nodes are OK for the `success_threshold`, failed and silent ones do not count.
        """
        if self.stopped:
            return STOPPED
        if self._enough():
            return OK
        if self.failed or self.not_evaluated:
            return FAILED
        if self.silent or self.skipped:
            return SILENT
        return OK if self.replies else NO_NODES

    def _enough(self) -> bool:
        """Return whether the share of nodes that are OK reaches the threshold; unexpected nodes do not count."""
        if self.success_threshold is None:
            return False
        nodes = self.expected | self._missing | self.not_evaluated.keys()
        return bool(nodes) and len(nodes.intersection(self.ok)) >= self.success_threshold.ceil(len(nodes))
