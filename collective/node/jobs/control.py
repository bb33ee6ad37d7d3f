"""What the agent `control` can do with this node's work: list, cancel and revoke requests, freeze and thaw the node.

A caller may stop its own requests. With `everyone`, which the policy can forbid, those of all callers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from collective.errors import Aborted
from collective.node.actions.job import CANCELLED as WAS_CANCELLED
from collective.node.actions.job import ActionResult
from collective.node.actions.runner import Runner
from collective.node.jobs.orders import Freeze, Frozen, Revocations
from collective.node.jobs.running_requests import RunningRequest, RunningRequests
from collective.node.jobs.store import CANCELLED, RUNNING, SCHEDULED, JobStore, StoredJob
from collective.node.storage.journal import STARTED, TAKEN, Journal, JournalEntry

_BECAME = ("stopped", "cancelled", "revoked", "ended")
_RUNS = "runs"
_Work = StoredJob | RunningRequest
_RESULT = ("statuscode", "statusmsg", "reason", "data", "time", "elapsed_ms")  # of a stored reply


class WorkControl:
    """Implements `collective.node_info.NodeControl`. `now` returns the server's time in Unix seconds."""

    def __init__(
        self,
        store: JobStore,
        running: RunningRequests,
        revocations: Revocations,
        freeze: Freeze,
        journal: Journal,
        runner: Runner,
        now: Callable[[], float],
    ) -> None:
        self._store = store
        self._running = running
        self._revocations = revocations
        self._freeze = freeze
        self._journal = journal
        self._runner = runner
        self._now = now

    def jobs(self, caller: str, *, everyone: bool) -> list[dict[str, Any]]:
        """Return the work of `caller`, or of all callers: jobs, oldest first, then other requests that run."""
        jobs = [job for job in self._store.all() if everyone or job.caller == caller]
        known = {job.digest for job in jobs}
        others = [one for one in self._running.all() if one.digest not in known and (everyone or one.caller == caller)]
        return [*map(_described, jobs), *map(_described_request, others)]

    def result(self, job_id: str, caller: str, *, everyone: bool) -> dict[str, Any]:
        """Return a job and its result. Raise Aborted for an unknown job, and for one of another caller."""
        job = self._store.find(job_id, caller)
        if job is None:
            raise Aborted(
                f"there is no job '{job_id}' (it was never accepted here, or its result is not kept any more)"
            )
        self._check(job.caller, caller, everyone)
        return {**_described(job), "result": job.result}

    def cancel(self, request_id: str, caller: str, *, everyone: bool, running: bool, dry_run: bool) -> str:
        """Cancel a request or a job, or all of a run; with `running` also those whose actions have begun.

        With `dry_run` nothing is changed, and the return value is what would become of it.

        Return what became of it: `stopped` (its action ran, and all its processes are killed), `cancelled` (a job that
        had not begun), `revoked` (it has not begun, and will not), `ended` (it is over). Of several, the first of these
        that applies. Raise Aborted for a request of another caller, and for one that runs without `running`.
        """
        entry, known = self._journal.find(request_id), self._work(request_id)
        named = [one for one in known if one.id == request_id]
        for owner in (*named, *([entry] if entry else [])):
            self._check(owner.caller, caller, everyone)
        if known and not self._stoppable(known, caller, everyone):
            self._check(known[0].caller, caller, everyone)
        if not dry_run:
            self._revocations.add(request_id, caller, everyone=everyone)  # first: what begins meanwhile is listed below
        work = self._stoppable(self._work(request_id), caller, everyone)
        became = [self._cancel_one(one, caller, running=running, dry_run=dry_run) for one in work]
        if _RUNS in became:
            raise Aborted("the action has begun (cancel it to stop its processes: crpc jobs cancel)")
        entry = self._entry(request_id, caller, everyone)  # again: it may have begun and ended before it was revoked
        waits = not work if entry is None else not named and entry.state in (TAKEN, STARTED)
        return min([*became, *(["revoked"] if waits else [])], key=_BECAME.index, default="ended")

    def settle(self, request_id: str, caller: str, *, everyone: bool, dry_run: bool) -> dict[str, Any]:
        """Return what became of a request, and keep it from beginning if it has not. Raise Aborted as `cancel` does.

        `ended` comes with the reply, which is None when it is not kept; `running` may be asked again, and `revoked` has
        never begun here, or so long ago that the journal has forgotten it.
        """
        entry = self._entry(request_id, caller, everyone)
        if not dry_run and (entry is None or entry.state == TAKEN):
            self._revocations.add(request_id, caller, everyone=everyone)
            entry = self._entry(request_id, caller, everyone)  # it may have begun and ended before it was revoked
        if entry is not None and entry.state not in (TAKEN, STARTED):
            return {"id": request_id, "became": "ended", "reply": _result(entry.reply)}
        # By its own id: another caller's request may name the same run, and would never end for this one.
        begun = entry is not None or any(one.id == request_id for one in self._running.all())
        return {"id": request_id, "became": "running" if begun else "revoked", "reply": None}

    def freeze(self, caller: str, reason: str, *, dry_run: bool) -> Mapping[str, Any]:
        """Refuse everything but reads from now on, unless `dry_run`; return the freeze."""
        return vars(Frozen(caller, reason, self._now()) if dry_run else self._freeze.freeze(caller, reason))

    def thaw(self, *, dry_run: bool) -> Mapping[str, Any] | None:
        """End the freeze, unless `dry_run`, and return it; None if there was none."""
        before = self._freeze.state if dry_run else self._freeze.thaw()
        return vars(before) if before else None

    def frozen(self) -> Mapping[str, Any] | None:
        """Return the freeze in force; None if there is none."""
        return vars(self._freeze.state) if self._freeze.state else None

    def _work(self, request_id: str) -> list[_Work]:
        """Return the jobs and the running requests with this id, or of the run with this id."""
        jobs = [job for job in self._store.all() if request_id in (job.id, job.run)]
        digests = {job.digest for job in jobs}
        running = [one for one in self._running.all() if request_id in (one.id, one.run) and one.digest not in digests]
        return [*jobs, *running]

    def _stoppable(self, work: Sequence[_Work], caller: str, everyone: bool) -> list[_Work]:
        """Return those of `caller`, or all; callers choose the run of a request, so others' may name the same one."""
        return [one for one in work if everyone or one.caller == caller]

    def _cancel_one(self, work: _Work, caller: str, *, running: bool, dry_run: bool) -> str:
        """Stop one job or request; return what became of it, or `_RUNS` for one that must not be stopped."""
        if isinstance(work, StoredJob):
            result = ActionResult(5, f"cancelled by '{caller}' before it began", WAS_CANCELLED, {})
            if work.state == SCHEDULED and (
                dry_run or self._store.end(work.id, CANCELLED, result, self._now(), before=[SCHEDULED])
            ):
                return "cancelled"
            found = self._store.find(work.id)
            if found is None or found.state != RUNNING:
                return "ended"
        if not running:
            return _RUNS
        if dry_run:
            return "stopped"
        return "stopped" if self._runner.cancel(work.digest, f"cancelled by '{caller}'") else "ended"

    def _entry(self, request_id: str, caller: str, everyone: bool) -> JournalEntry | None:
        """Return the entry of a request; None for one that has not arrived. Raise Aborted for another caller's."""
        entry = self._journal.find(request_id)
        if entry is not None:
            self._check(entry.caller, caller, everyone)
        return entry

    def _check(self, owner: str, caller: str, everyone: bool) -> None:
        if owner != caller and not everyone:
            raise Aborted(f"the request is of '{owner}', not of '{caller}' (use all=true, if the policy allows it)")


def _result(reply: str) -> dict[str, Any] | None:
    """Return what a caller records of a stored reply; None when there is none."""
    if not reply:
        return None
    content = json.loads(reply)
    return {name: content[name] for name in _RESULT}


def _described(job: StoredJob) -> dict[str, Any]:
    return {
        "id": job.id,
        "run": job.run,
        "caller": job.caller,
        "agent": job.agent,
        "action": job.action,
        "state": job.state,
        "created": job.created,
        "start": job.start,
        "began": job.began,
        "ended": job.ended,
        "background": True,
    }


def _described_request(request: RunningRequest) -> dict[str, Any]:
    known = {name: getattr(request, name) for name in ("id", "run", "caller", "agent", "action", "began")}
    times = {"created": request.began, "start": request.began, "ended": None}
    return {**known, **times, "state": RUNNING, "background": False}
