"""The table of reasons: what becomes of a request, and what callers, audit log and counters get to see of it."""

from __future__ import annotations

import pytest

from collective.node.requests.reasons import COUNTERS, Reason, When

# reason: counter, audit verdict, status code, reply's reason, when it is audited, when it is answered
TABLE = {
    "UNVALIDATED": ("unvalidated", None, None, None, "never", "never"),
    "ELSEWHERE": ("elsewhere", None, None, None, "never", "never"),
    "DUPLICATE": ("duplicates", "duplicate", None, None, "always", "always"),
    "DUPLICATE_WITHOUT_REPLY": ("duplicates", "duplicate", None, None, "always", "never"),
    "DUPLICATE_LIMIT": ("duplicates", None, None, None, "never", "never"),
    "ID_REUSED": ("reused", "refused", None, None, "always", "never"),
    "JOURNAL_UNAVAILABLE": ("busy", "refused", 5, "busy", "always", "always"),
    "EXPIRED": ("expired", "refused", 5, "expired", "always", "named"),
    "DENIED": ("denied", "denied", 1, "denied", "always", "always"),
    "NOT_EVALUATED": ("filtered", "filtered", 5, "not_evaluated", "always", "always"),
    "FILTERED": ("filtered", "filtered", 5, "filtered", "named", "named"),
    "FROZEN": ("frozen", "refused", 1, "frozen", "always", "always"),
    "UNKNOWN_ACTION": ("invalid", "invalid", 2, None, "always", "always"),
    "OTHER_VERSION": ("invalid", "invalid", 2, "other_version", "always", "always"),
    "MISSING_INPUT": ("invalid", "invalid", 3, None, "always", "always"),
    "INVALID_INPUT": ("invalid", "invalid", 4, None, "always", "always"),
    "NO_DRY_RUN": ("invalid", "invalid", 4, "no_dry_run", "always", "always"),
    "UNCHECKED": ("invalid", "invalid", 4, "unchecked", "always", "always"),
    "BUSY": ("busy", "busy", 5, "busy", "always", "always"),
    "PASSED": ("passed", "allowed", None, None, "always", "always"),
    "INTERRUPTED": ("interrupted", None, 5, "interrupted", "never", "always"),
    "GIVEN_UP": ("interrupted", "refused", 5, "interrupted", "always", "always"),
    "INTERNAL_ERROR": ("defects", "refused", 5, "crashed", "always", "always"),
}


def test_each_reason_has_its_counter_verdict_and_reply() -> None:
    """Each of these strings and numbers is part of an interface: changing one changes what programs read."""
    found = {
        reason.name: (
            *(reason.counter, reason.verdict, reason.statuscode, reason.reply_reason),
            *(reason.audited.value, reason.answered.value),
        )
        for reason in Reason
    }
    assert found == TABLE


def test_every_reason_has_a_documented_counter() -> None:
    """A counter that COUNTERS does not describe would be missing from the metrics file, and from its documentation."""
    assert {reason.counter for reason in Reason} == set(COUNTERS)


@pytest.mark.parametrize(
    ("when", "named", "expected"),
    [
        (When.ALWAYS, False, True),
        (When.NAMED, True, True),
        (When.NAMED, False, False),
        (When.NEVER, True, False),
    ],
)
def test_a_node_that_is_named_does_more_than_one_that_is_not(when: When, named: bool, expected: bool) -> None:
    """`named` reasons concern only requests that name this node in `targets`."""
    assert when.applies(named=named) is expected
