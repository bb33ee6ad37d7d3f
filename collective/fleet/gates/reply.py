"""A gate on the replies so far: an expression such as `statuscode=0 and data.version>=2` holds for each of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collective import filters
from collective.errors import UsageError
from collective.filters import Budget, ClassTest, DataTest, Filter
from collective.fleet.gates import GateView
from collective.messages import Reply
from collective.nodesets import fold_any as fold
from collective.policy import KnownNode
from collective.text import plural


class ReplyGate:
    """An expression in the syntax of `-S`, whose names are members of a reply: `statuscode`, `data.version`."""

    unattended = True

    def __init__(self, condition: Filter, text: str) -> None:
        self.name = f"reply:{text}"
        self._condition = condition

    @classmethod
    def read(cls, option: str, text: str) -> ReplyGate:
        """Read an expression; raise UsageError, pointing at the column, for an invalid one."""
        condition = filters.parse(select=text)
        for test in filters.leaves(condition):
            if isinstance(test, (ClassTest, DataTest)):
                raise UsageError(
                    f"{option} 'reply:{text}': only members of a reply can be compared, such as data.version>=2"
                )
        return cls(condition, text)

    def check(self, view: GateView) -> str:
        """Return which nodes have no reply, or one for which the expression does not hold."""
        if view.unanswered:
            return f"{plural(len(view.unanswered), 'node')} without a reply: {fold(view.unanswered)}"
        closed = sorted(reply.sender for reply in view.replies if not self._holds(reply))
        return f"does not hold on {plural(len(closed), 'node')}: {fold(closed)}" if closed else ""

    def _holds(self, reply: Reply) -> bool:
        budget = Budget()
        node = KnownNode(_members(reply), frozenset(), reply.sender)
        return filters.matches(self._condition, node, _no_data, budget) and not budget.spent


def _members(reply: Reply) -> Mapping[str, Any]:
    return {
        "statuscode": reply.statuscode,
        "statusmsg": reply.statusmsg,
        "reason": reply.reason,
        "data": reply.data,
        "elapsed_ms": reply.elapsed_ms,
    }


def _no_data(_function: str, _query: str) -> None:
    """Stand in for data functions, which an expression on replies cannot have."""
