"""Join the decisions and outcomes of an audit log to one record per request."""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collective.audit import chain
from collective.text import plural

log = logging.getLogger(__name__)

OUTCOMES = (
    *("ok", "failed", "unanswered"),
    *("denied", "invalid", "duplicate", "filtered", "not_evaluated", "expired"),
    *("timeout", "interrupted", "busy", "crashed", "invalid_output"),
)

_YEAR_10000 = 253_402_300_800  # in Unix seconds


@dataclass(frozen=True)
class Record:
    """The decision and outcome entries of a request; the outcome is None before there is one."""

    decision: Mapping[str, Any]
    outcome: Mapping[str, Any] | None

    @property
    def time(self) -> float:
        """Time of the decision in Unix seconds; 0 if the line has none that a calendar has."""
        found = self.decision.get("time")
        return float(found) if isinstance(found, (int, float)) and 0 <= found < _YEAR_10000 else 0.0

    @property
    def outcomes(self) -> frozenset[str]:
        """The members of OUTCOMES that apply to this request."""
        if self.outcome is None:
            return frozenset({"unanswered", str(self.decision.get("verdict"))} & set(OUTCOMES))
        state = "failed" if self.outcome.get("statuscode") else "ok"
        return frozenset({state, str(self.outcome.get("reason")), str(self.decision.get("verdict"))} & set(OUTCOMES))


def read(path: Path) -> Iterator[Record]:
    """Yield the records of a file in the order of their outcomes, then those without an outcome.

    Lines that are not those of an audit log are counted in a warning; `chain.verify` names them. Raise ConfigError for
    a file that cannot be read.
    """
    waiting, broken = _Decisions(), 0
    for _, line in chain.lines(path):
        entry = chain.parse(line)
        if entry is None:
            broken += 1
        elif entry["event"] == "decision":
            waiting.add(entry)
        elif entry["event"] == "outcome" and (decision := waiting.take(entry)) is not None:
            yield Record(decision, entry)
    for decision in waiting.left():
        yield Record(decision, None)
    if broken:
        text = f"{path}: {plural(broken, 'line')} not of an audit log, not shown (see 'crpc audit verify')"
        log.warning("audit.broken", extra={"error": text})


class _Decisions:
    """The decisions without an outcome so far, by request id and digest; several for duplicates."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str], deque[Mapping[str, Any]]] = defaultdict(deque)
        self._jobs: dict[tuple[str, str], Mapping[str, Any]] = {}

    def add(self, decision: Mapping[str, Any]) -> None:
        """Keep a decision for its outcome."""
        self._waiting[_request(decision)].append(decision)
        if decision.get("job") == "request":
            self._jobs[_request(decision)] = decision

    def take(self, outcome: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the decision that an outcome belongs to; None if the log has none.

        A background job that ended without a start, such as an expired one, has two outcomes and one decision.
        """
        request = _request(outcome)
        if request not in self._waiting:
            return self._jobs.get(request)
        found = self._waiting[request].popleft()
        if not self._waiting[request]:
            del self._waiting[request]
        return found

    def left(self) -> Iterator[Mapping[str, Any]]:
        """Yield the decisions that have no outcome."""
        for decisions in self._waiting.values():
            yield from decisions


def _request(entry: Mapping[str, Any]) -> tuple[str, str]:
    return str(entry.get("request")), str(entry.get("digest"))
