"""Accept background jobs, start each at its start time (delay and splay included), and keep their results.

    accept ─► store ─► due ─► read ─ authorize ─ inputs ─► threads for actions ─► store

A job is authorised again when it starts, with the key, the policy and the DDL of that time. No reply is sent: callers
ask for the result.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from collective.errors import Failed, InvalidInput, MessageError
from collective.messages import MAX_DELAY, Reply
from collective.node.actions.job import CANCELLED as WAS_CANCELLED
from collective.node.actions.job import INTERRUPTED as WAS_INTERRUPTED
from collective.node.actions.job import ActionResult, failed_result
from collective.node.jobs.orders import Orders
from collective.node.jobs.store import (
    CANCELLED,
    ENDED,
    EXPIRED,
    INTERRUPTED,
    REFUSED,
    RUNNING,
    SCHEDULED,
    JobStore,
    StoredJob,
)
from collective.node.requests.action_caller import ActionCaller, raised_result
from collective.node.requests.admission import Admission
from collective.node.requests.authorization import Authorizer
from collective.node.requests.context import AdmittedRequest
from collective.node.requests.decision_audit import DecisionAudit
from collective.node.requests.pools import RequestPools
from collective.node.requests.reasons import Reason, Refused
from collective.node.requests.request_decoder import RequestDecoder
from collective.node.state import NodeState
from collective.node.storage.audit_log import AuditLog
from collective.node.storage.journal import noting
from collective.periodic import PeriodicThread
from collective.transport import Delivery

log = logging.getLogger(__name__)

ACCEPTED = "accepted"  # the reason of the reply to the request of a job
_LOOK = 60.0  # seconds between two looks at the store without a job that is due
_AGAIN = 1.0  # seconds until a job is tried again that could not start: the node is busy, or frozen


@dataclass(frozen=True)
class JobParts:
    """What jobs are read, checked, run and audited with. `now` returns the server's time in Unix seconds."""

    state: NodeState
    decoder: RequestDecoder
    authorizer: Authorizer
    admission: Admission
    caller: ActionCaller
    pools: RequestPools
    decisions: DecisionAudit
    audit: AuditLog
    orders: Orders
    now: Callable[[], float]


class JobScheduler:
    """Starts and runs the jobs of one node; safe for any number of threads."""

    def __init__(self, store: JobStore, parts: JobParts) -> None:
        self._store = store
        self._parts = parts
        self._submitted: set[str] = set()
        self._lock = threading.Lock()
        self._thread = PeriodicThread("jobs", self._step, _LOOK)

    def start(self) -> None:
        """Mark the jobs of an earlier daemon that did not end as interrupted, and start those that are due."""
        with noting():
            for job in self._store.running():
                result = failed_result("the node stopped before the job had ended", reason=WAS_INTERRUPTED)
                self._store.end(job.id, INTERRUPTED, result, self._parts.now(), before=[RUNNING])
                self._audit_outcome(job, result)
        self._thread.start()

    def stop(self) -> None:
        """Start no further job."""
        self._thread.stop(_AGAIN)

    def accept(self, admitted: AdmittedRequest) -> ActionResult:
        """Store a job, and return the result that says so.

        Raise Failed (`busy`) if it cannot be stored, and InvalidInput for a start that is too far away.
        """
        request, job = admitted.request, admitted.request.job or {}
        now = self._parts.now()
        planned = job["start"] or admitted.context.delivery.sent + job["delay"]
        if planned > now + MAX_DELAY:
            raise InvalidInput(f"the job would start later than {MAX_DELAY / 86400:.0f} days from now")
        start = max(now, planned) + self._delay(request.id, float(job["splay"]))
        stored = StoredJob(
            id=request.id,
            run=request.run,
            digest=admitted.context.digest,
            caller=request.caller,
            agent=request.agent,
            action=request.action,
            created=now,
            start=start,
            grace=float(job["grace"]),
            keep=float(job["keep"]),
            body=admitted.context.delivery.body,
        )
        self._store.add(stored)
        self._thread.wake()
        return ActionResult(0, ACCEPTED, ACCEPTED, {})

    def _delay(self, job_id: str, splay: float) -> float:
        """Return a delay of up to `splay` seconds, which differs for each node, and is the same after a restart."""
        seed = hashlib.sha256(f"{job_id} {self._parts.state.identity}".encode()).digest()
        return splay * int.from_bytes(seed[:4], "big") / 2**32

    def _step(self) -> float | None:
        """Start the jobs that are due; return the seconds until the next look."""
        now, late = self._parts.now(), False
        try:
            self._store.purge(now)
            for job in self._store.due(now):
                late |= not self._begin(job, now)
            upcoming = self._store.next_start()
        except Failed as error:
            log.error("journal.failed", extra={"error": str(error)})
            return _AGAIN
        except Exception:
            log.exception("node.internal_error")  # the thread must live on
            return _LOOK
        if late or upcoming is None:
            return _AGAIN if late else None
        return min(_LOOK, max(0.05, upcoming - self._parts.now()))

    def _begin(self, job: StoredJob, now: float) -> bool:
        """Check a job, and have it run; return False if it must be tried again."""
        if now > job.start + job.grace:
            why = f"the node could not start it within {job.grace:.0f} s of its time"
            self._conclude(job, EXPIRED, ActionResult(5, why, "expired", {}))
            return True
        if self._parts.orders.frozen:
            return False
        with self._lock:
            if job.id in self._submitted:
                return True
            self._submitted.add(job.id)
        try:
            return self._submit(job, now)
        except BaseException:
            self._forget(job)
            raise

    def _submit(self, job: StoredJob, now: float) -> bool:
        delivery = Delivery(job.body, now, now, "")
        context = None
        try:
            context = self._parts.decoder.decode(delivery, self._parts.state.plugins)
            context.starts_job = True
            self._parts.authorizer.authorize_action(context)
            admitted = self._parts.admission.check_input(context)
            self._parts.pools.run_action(job.agent, self._run, job, admitted)
        except (MessageError, Refused) as error:
            self._forget(job)
            if isinstance(error, Refused) and error.reason is Reason.BUSY:
                return False
            if isinstance(error, Refused) and context is not None:
                self._parts.decisions.refused(context, error.reason)
            self._refuse(job, error)
        return True

    def _refuse(self, job: StoredJob, error: MessageError | Refused) -> None:
        reason = error.reason if isinstance(error, Refused) else Reason.DENIED
        result = ActionResult(reason.statuscode or 1, str(error), reason.reply_reason, {})
        log.warning("job.refused", extra={"request": job.id, "caller": job.caller, "error": str(error)})
        self._conclude(job, REFUSED, result)

    def _run(self, job: StoredJob, admitted: AdmittedRequest) -> None:
        try:
            self._parts.decisions.allowed(admitted.context)
            with self._parts.caller.listed(admitted):
                # A freeze that came while it was queued: the next look tries again.
                if self._parts.orders.frozen or not self._store.begin(job.id, self._parts.now()):
                    return
                result = self._parts.orders.revoked(admitted.request) or self._call(admitted)
            state = {WAS_CANCELLED: CANCELLED, WAS_INTERRUPTED: INTERRUPTED}.get(result.reason or "", ENDED)
            self._conclude(job, state, result, before=RUNNING)
        except Failed as error:  # the audit log or the store cannot be written: the next look tries again
            log.error("job.failed", extra={"request": job.id, "error": str(error)})
        finally:
            self._forget(job)

    def _call(self, admitted: AdmittedRequest) -> ActionResult:
        try:
            result = self._parts.caller.call(admitted, admitted.action.timeout)
        except Exception as error:
            result = raised_result(admitted, error)
        return result if isinstance(result.data, dict) else result._replace(data={})

    def _conclude(self, job: StoredJob, state: str, result: ActionResult, before: str = SCHEDULED) -> None:
        if self._store.end(job.id, state, result, self._parts.now(), before=[before]):
            log.info("job.ended", extra={"request": job.id, "state": state, "statuscode": result.statuscode})
            self._audit_outcome(job, result)

    def _audit_outcome(self, job: StoredJob, result: ActionResult) -> None:
        reply = Reply(
            job.id,
            job.digest,
            self._parts.state.identity,
            job.agent,
            job.action,
            result.statuscode,
            result.statusmsg,
            {},
            time=self._parts.now(),
            elapsed_ms=round((self._parts.now() - (job.began or self._parts.now())) * 1000, 1),
            reason=result.reason,
        )
        try:
            self._parts.audit.outcome(reply)
        except Failed as error:
            log.error("audit.failed", extra={"error": str(error)})

    def _forget(self, job: StoredJob) -> None:
        with self._lock:
            self._submitted.discard(job.id)
