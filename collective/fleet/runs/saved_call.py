"""A saved run as a call: the views and output forms of results take it like a call that has just ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from collective.ddl import Action, Aggregate
from collective.errors import UsageError
from collective.fleet.outcomes import Outcomes
from collective.fleet.runs.saved_run import SavedRun
from collective.messages import Reply

_UNFINISHED = "unfinished: its process ended before the call did"


class SavedCall:
    """What is printed of a saved run; the members are those of `Call`."""

    def __init__(self, run: SavedRun) -> None:
        begin, request, end = run.begin, run.request, run.end
        self.run = run
        self.request_ids = list(run.sent)
        self.request_id: str = begin["run"]
        self.agent: str = begin["agent"]
        self.collective: str = begin["collective"]
        self.caller: str = begin["caller"]
        self.action = _action(run)
        self.dry_run = run.dry_run
        self.started = float(begin["time"])
        self.discovery_ms = float(request.get("discovery_ms", 0.0))
        self.total_ms = float(end.get("total_ms", self._elapsed_ms(run)))
        self.stopped = str(end.get("stopped", "")) if end else _UNFINISHED
        self.cut_short = bool(end.get("cut_short", False)) if end else True
        self.absent: list[str] = list(run.missing.get("absent", ()))
        self.outcomes = _outcomes(run)

    def _elapsed_ms(self, run: SavedRun) -> float:
        last = max((float(reply.get("time", 0.0)) for reply in run.replies.values()), default=self.started)
        return max(0.0, (last - self.started) * 1000)


def _outcomes(run: SavedRun) -> Outcomes:
    request = run.request
    outcomes = Outcomes(
        run.expected,
        not_asked=request.get("not_asked", {}),
        not_evaluated=request.get("not_evaluated", {}),
        undiscovered=request.get("undiscovered", ()),
        expect_all=bool(request.get("expect_all")),
    )
    for entry in run.replies.values():
        outcomes.record(_reply(run.begin, entry))
    outcomes.skip(run.skipped)
    for name in run.missing.get("rejected", ()):
        outcomes.reject(name)
    outcomes.stopped = bool(run.end.get("stopped")) if run.end else True
    return outcomes


def _reply(begin: Mapping[str, Any], entry: Mapping[str, Any]) -> Reply:
    return Reply(
        request=begin["run"],
        digest="",
        sender=entry["sender"],
        agent=begin["agent"],
        action=begin["action"],
        statuscode=entry["statuscode"],
        statusmsg=entry["statusmsg"],
        data=entry["data"],
        time=float(entry.get("time", 0.0)),
        elapsed_ms=float(entry.get("elapsed_ms", 0.0)),
        reason=entry.get("reason"),
    )


def _action(run: SavedRun) -> Action:
    """Return the action as its DDL was at the time of the call."""
    saved: dict[str, Any] = dict(run.request["ddl"])
    known = {one.name for one in fields(Action)}
    try:
        saved["aggregates"] = tuple(Aggregate(**one) for one in saved.get("aggregates", ()))
        return Action(**{name: value for name, value in saved.items() if name in known})
    except TypeError as error:
        raise UsageError(f"{run.source.where}: broken: the DDL of the action is incomplete: {error}") from None
