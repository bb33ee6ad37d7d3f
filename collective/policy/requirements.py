"""What a rule that allows requests requires of them, beside matching: a reason, and a limited number of nodes.

    reason: 'CHG-[0-9]+.*'        the caller gives a reason (--reason) that the whole pattern matches
    max_targets: 20               the call is for at most 20 nodes in all
    approvals: 2                  two other callers have signed exactly this request (crpc approve)
    approvers: [group:leads]      only the approvals of these callers count
    max_targets_per_hour: 100     the calls of the caller within an hour are for at most 100 nodes in all

The number of nodes is in the signed request, so that each node knows how large the whole call is. A broadcast names no
nodes, and exceeds every limit.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass

from collective.filters import patterns
from collective.text import plural

_MATCH_SECONDS = 0.1


@dataclass(frozen=True)
class CallFacts:
    """What requirements are about. `targets` is the number of nodes of the call, None for a broadcast.

    `targets_in_hour` is that of all calls of the caller within the last hour, this one included. `time` is in Unix
    seconds. `approvers` are the callers whose approvals are valid, `unnamed_approvals` the number of others whose names
    are not known, and `problem` is why further ones do not count. In a replay, a `targets_in_hour` and a `time` of None
    are unknown.
    """

    reason: str = ""
    targets: int | None = 1
    targets_in_hour: int | None = None
    time: float | None = None
    approvers: tuple[str, ...] = ()
    unnamed_approvals: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Requirements:
    """The requirements of one rule; None: any reason, or any number."""

    reason: str | None = None
    max_targets: int | None = None
    max_targets_per_hour: int | None = None
    approvals: int | None = None
    approvers: tuple[str, ...] = ("*",)

    def unmet(self, call: CallFacts) -> str:
        """Return what a call lacks; an empty string when it meets all requirements."""
        if self.reason is not None and not _matches(self.reason, call.reason):
            given = f"not '{call.reason}'" if call.reason else "and none was given (--reason)"
            return f"a reason that matches '{self.reason}', {given}"
        if self.max_targets is not None and (call.targets is None or call.targets > self.max_targets):
            found = "a broadcast" if call.targets is None else str(call.targets)
            return f"at most {self.max_targets} nodes per call, not {found}"
        if self.max_targets_per_hour is not None and (call.targets_in_hour or 0) > self.max_targets_per_hour:
            return f"at most {self.max_targets_per_hour} nodes per hour and caller, not {call.targets_in_hour}"
        return self._unmet_approvals(call)

    def _unmet_approvals(self, call: CallFacts) -> str:
        counting = [name for name in call.approvers if any(fnmatch.fnmatchcase(name, one) for one in self.approvers)]
        count = len(counting) + call.unnamed_approvals
        if self.approvals is None or count >= self.approvals:
            return ""
        others = [name for name in call.approvers if name not in counting]
        problems = [f"the policy accepts no approval of '{name}'" for name in others]
        problem = "; ".join([*problems, *([call.problem] if call.problem else [])])
        detail = f" ({problem})" if problem else ""
        return f"{plural(self.approvals, 'approval')} by other callers, not {count}{detail}"

    def depends_on_hour(self, call: CallFacts) -> bool:
        """Return whether the result is unknown, because the earlier calls of the caller are."""
        return self.max_targets_per_hour is not None and call.targets_in_hour is None


def _matches(pattern: str, reason: str) -> bool:
    """Return whether a pattern matches a whole reason; one that takes too long does not."""
    try:
        return patterns.compiled(pattern).fullmatch(reason, timeout=_MATCH_SECONDS) is not None
    except TimeoutError:
        return False


NO_REQUIREMENTS = Requirements()
