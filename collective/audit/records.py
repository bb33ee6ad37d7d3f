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
    *("timeout", "interrupted", "busy", "crashed"),
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
    # Decisions by request id and digest, several for duplicates.
    waiting: dict[tuple[str, str], deque[Mapping[str, Any]]] = defaultdict(deque)
    broken = 0
    for _, line in chain.lines(path):
        entry = chain.parse(line)
        if entry is None:
            broken += 1
            continue
        request = (str(entry.get("request")), str(entry.get("digest")))
        if entry["event"] == "decision":
            waiting[request].append(entry)
        elif entry["event"] == "outcome" and request in waiting:
            yield Record(waiting[request].popleft(), entry)
            if not waiting[request]:
                del waiting[request]
    for decisions in waiting.values():
        for decision in decisions:
            yield Record(decision, None)
    if broken:
        text = f"{path}: {plural(broken, 'line')} not of an audit log, not shown (see 'crpc audit verify')"
        log.warning("audit.broken", extra={"error": text})
