"""A gate on the replies so far: an expression such as `statuscode=0 and data.version>=2` holds for each of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from collective import filters
from collective.errors import UsageError
from collective.filters import Budget, ClassTest, DataTest, FactTest, Filter
from collective.fleet.gates import GateView
from collective.messages import Reply
from collective.nodesets import fold_any as fold
from collective.policy import KnownNode
from collective.suggestions import suggest
from collective.text import plural

if TYPE_CHECKING:
    from collective.ddl import Action

_MEMBERS = ("statuscode", "statusmsg", "reason", "data", "elapsed_ms")


class ReplyGate:
    """An expression in the syntax of `-S`, whose names are members of a reply: `statuscode`, `data.version`."""

    unattended = True

    def __init__(self, condition: Filter, text: str) -> None:
        self.name = f"reply:{text}"
        self._condition = condition

    @classmethod
    def read(cls, option: str, text: str) -> ReplyGate:
        """Read an expression; raise UsageError, pointing at the column, for an invalid one."""
        try:
            condition = filters.parse(select=text)
        except UsageError as error:
            raise UsageError(f"{option} reply: {str(error).removeprefix('-S ')}") from None
        for test in filters.leaves(condition):
            if isinstance(test, (ClassTest, DataTest)):
                raise UsageError(
                    f"{option} 'reply:{text}': only members of a reply can be compared, such as data.version>=2"
                )
        return cls(condition, text)

    def check_names(self, action: Action) -> None:
        """Raise UsageError for a name that no reply to an action has, with which the gate would never open."""
        for test in filters.leaves(self._condition):
            first, _, rest = test.fact.partition(".") if isinstance(test, FactTest) else ("", "", "")
            known = (*_MEMBERS, *(f"data.{name}" for name in action.outputs))
            output = rest.partition(".")[0]
            if first and (first not in _MEMBERS or (first == "data" and output not in action.outputs)):
                name = f"data.{output}" if first == "data" else first
                hint = suggest(name, known, f"known are: {', '.join(known)}")
                raise UsageError(f"--gate '{self.name}': unknown member '{name}' of a reply ({hint})")

    def check(self, view: GateView) -> str:
        """Return which nodes have no reply, or one for which the expression does not hold."""
        if view.unanswered:
            return f"{plural(len(view.unanswered), 'node')} without a reply: {fold(view.unanswered)}"
        closed = sorted(reply.sender for reply in view.replies if not self._holds(reply))
        return f"does not hold on {plural(len(closed), 'node')}: {fold(closed)}" if closed else ""

    def _holds(self, reply: Reply) -> bool:
        budget = Budget()
        node = KnownNode(_members(reply), frozenset(), reply.sender)
        return filters.matches(self._condition, node, filters.no_data, budget) and not budget.spent


def _members(reply: Reply) -> Mapping[str, Any]:
    return {name: getattr(reply, name) for name in _MEMBERS}
