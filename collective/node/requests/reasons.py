"""Every way in which a request can end before its action runs, and what each one means.

    raise Refused(Reason.EXPIRED, "…")     ends a request at any step; refusals.py does what the reason says

`tests/test_reasons.py` pins the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, unique

from collective.errors import (
    CollectiveError,
    InvalidInput,
    MissingInput,
    NoDryRun,
    OtherVersion,
    RPCError,
    UncheckedInput,
    UnknownAction,
)
from collective.node.actions.job import CRASHED, INTERRUPTED

# The counters of requests that were received, or resumed from the journal: each request counts in exactly one.
COUNTERS: Mapping[str, str] = {
    "unvalidated": "dropped: unreadable, not signed by an allowed signer, or for another collective",
    "duplicates": "delivered before: the first reply, if there is one, is sent again at most ten times",
    "reused": "has the id of another request, and is not answered",
    "elsewhere": "for other nodes",
    "expired": "older than its TTL, from a caller whose clock is wrong, or from before the journal began",
    "denied": "denied by the policy",
    "frozen": "refused because the node is frozen: it runs only actions that read",
    "filtered": "its filter is invalid, does not match this node, or could not be evaluated",
    "invalid": "no such agent or action, or inputs that its DDL does not allow or that take too long to check",
    "busy": "too many requests are waiting, or the journal cannot be written",
    "interrupted": "an earlier daemon stopped while its action ran, or several stopped while they had it",
    "passed": "admitted: its action runs or waits to run",
    "defects": "internal error: the node's log has the details",
}


class When(Enum):
    """For which requests something is done: all, only those that name this node in `targets`, or none."""

    ALWAYS = "always"
    NAMED = "named"
    NEVER = "never"

    def applies(self, *, named: bool) -> bool:
        """Return whether it is done for a request that names this node, or does not."""
        return self is When.ALWAYS or (self is When.NAMED and named)


_ALWAYS, _NAMED, _NEVER = When.ALWAYS, When.NAMED, When.NEVER


@unique
class Reason(Enum):
    """What became of a request.

    `counter` is one of COUNTERS. `verdict` is what the audit log gets, if `audited` applies. `statuscode` and
    `reply_reason` are what the reply has, if `answered` applies; without them it is an earlier or later result.
    """

    # Not a valid request, or not for this node.
    UNVALIDATED = ("unvalidated", None, _NEVER, None, None, _NEVER)
    ELSEWHERE = ("elsewhere", None, _NEVER, None, None, _NEVER)
    # Known already. The first reply is sent again if there is one, a limited number of times.
    DUPLICATE = ("duplicates", "duplicate", _ALWAYS, None, None, _ALWAYS)
    DUPLICATE_WITHOUT_REPLY = ("duplicates", "duplicate", _ALWAYS, None, None, _NEVER)
    DUPLICATE_LIMIT = ("duplicates", None, _NEVER, None, None, _NEVER)
    # Another request has the same id: its reply must not be mistaken for this one's.
    ID_REUSED = ("reused", "refused", _ALWAYS, None, None, _NEVER)
    # Refused without asking the policy.
    JOURNAL_UNAVAILABLE = ("busy", "refused", _ALWAYS, 5, "busy", _ALWAYS)
    EXPIRED = ("expired", "refused", _ALWAYS, 5, "expired", _NAMED)
    # Refused by the policy.
    DENIED = ("denied", "denied", _ALWAYS, 1, "denied", _ALWAYS)
    # Allowed by the policy, and refused all the same.
    FROZEN = ("frozen", "refused", _ALWAYS, 1, "frozen", _ALWAYS)
    NOT_EVALUATED = ("filtered", "filtered", _ALWAYS, 5, "not_evaluated", _ALWAYS)
    FILTERED = ("filtered", "filtered", _NAMED, 5, "filtered", _NAMED)
    UNKNOWN_ACTION = ("invalid", "invalid", _ALWAYS, 2, None, _ALWAYS)
    OTHER_VERSION = ("invalid", "invalid", _ALWAYS, 2, "other_version", _ALWAYS)
    MISSING_INPUT = ("invalid", "invalid", _ALWAYS, 3, None, _ALWAYS)
    INVALID_INPUT = ("invalid", "invalid", _ALWAYS, 4, None, _ALWAYS)
    UNCHECKED = ("invalid", "invalid", _ALWAYS, 4, "unchecked", _ALWAYS)
    NO_DRY_RUN = ("invalid", "invalid", _ALWAYS, 4, "no_dry_run", _ALWAYS)
    BUSY = ("busy", "busy", _ALWAYS, 5, "busy", _ALWAYS)
    # Admitted. The audit log has it before the action runs, and the reply has the action's result.
    PASSED = ("passed", "allowed", _ALWAYS, None, None, _ALWAYS)
    # Not started, but daemons stopped again and again while they had it: it may be what ended them.
    GIVEN_UP = ("interrupted", "refused", _ALWAYS, 5, INTERRUPTED, _ALWAYS)
    # Started by an earlier daemon, which has audited it.
    INTERRUPTED = ("interrupted", None, _NEVER, 5, INTERRUPTED, _ALWAYS)
    # A bug at any step.
    INTERNAL_ERROR = ("defects", "refused", _ALWAYS, 5, CRASHED, _ALWAYS)

    def __init__(
        self,
        counter: str,
        verdict: str | None,
        audited: When,
        statuscode: int | None,
        reply_reason: str | None,
        answered: When,
    ) -> None:
        self.counter = counter
        self.verdict = verdict
        self.audited = audited
        self.statuscode = statuscode
        self.reply_reason = reply_reason
        self.answered = answered

    @property
    def limited(self) -> bool:
        """Whether the policy has not allowed the request: then only a limited number of each caller leaves a trace."""
        return self in _LIMITED


_LIMITED = frozenset(
    {
        Reason.DUPLICATE,
        Reason.DUPLICATE_WITHOUT_REPLY,
        Reason.ID_REUSED,
        Reason.EXPIRED,
        Reason.DENIED,
    }
)


class Refused(CollectiveError):
    """Ends a request before its action runs. The message becomes the reply's status message; it may have lines."""

    def __init__(self, reason: Reason, message: str = "") -> None:
        Exception.__init__(self, message)  # not one line: it may quote what a data function printed
        self.reason = reason


_INPUT_REASONS: Mapping[type[RPCError], Reason] = {
    UnknownAction: Reason.UNKNOWN_ACTION,
    MissingInput: Reason.MISSING_INPUT,
    InvalidInput: Reason.INVALID_INPUT,
    UncheckedInput: Reason.UNCHECKED,
    NoDryRun: Reason.NO_DRY_RUN,
    OtherVersion: Reason.OTHER_VERSION,
}


def refused_input(error: UnknownAction | MissingInput | InvalidInput | NoDryRun) -> Refused:
    """Return the refusal of a request whose agent, action or inputs the node's DDLs do not allow."""
    return Refused(_INPUT_REASONS[type(error)], str(error))
