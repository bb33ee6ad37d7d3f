"""The path of a request through the node, step by step; any step may end it with Refused.

    handle ─► read ─ duplicate ─ target ─ fresh ─ authorize ─ frozen ─ journal ─► filter ─ input ─► schedule
    resume ─► read ─ tries ─ fresh ─ authorize ─ frozen ─────────────────────────► filter ─ input ─► schedule

A request that the policy denies has no entry in the journal: nothing has run, and nothing of it must be kept.

One thread does all of this; no step takes long or waits for an action. A filter that queries data functions may take
seconds, so the scheduler does the last steps of such a request in another thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from collective.errors import Failed, MessageError, WrongVersion
from collective.filters import uses_data
from collective.messages import MAX_SKEW
from collective.node.jobs.orders import Orders
from collective.node.plugins.agents import RPCUTIL
from collective.node.requests.admission import Admission
from collective.node.requests.authorization import Authorizer
from collective.node.requests.context import RequestContext
from collective.node.requests.counters import Statistics
from collective.node.requests.duplicate_counter import DuplicateCounter
from collective.node.requests.older_callers import OlderCallers
from collective.node.requests.reasons import Reason, Refused
from collective.node.requests.refusals import Refusals
from collective.node.requests.request_decoder import RequestDecoder
from collective.node.requests.scheduler import Scheduler
from collective.node.state import NodeState
from collective.node.storage.journal import STARTED, TAKEN, Journal, JournalEntry, noting
from collective.transport import Delivery

log = logging.getLogger(__name__)

MOST_RESUMED = 3  # times that a request is resumed after a restart; one that ends the daemon must not end every daemon


@dataclass(frozen=True)
class Pipeline:
    """Processes the requests of one node in the thread that receives them."""

    state: NodeState
    decoder: RequestDecoder
    older_callers: OlderCallers
    duplicates: DuplicateCounter
    journal: Journal
    authorizer: Authorizer
    orders: Orders
    admission: Admission
    scheduler: Scheduler
    refusals: Refusals
    statistics: Statistics

    def handle(self, delivery: Delivery) -> None:
        """Process one delivery. Raise for internal errors only, never because of what a message contains."""
        self.statistics.requests.add("received")
        self.statistics.ages.add(max(0.0, delivery.received - delivery.sent))
        context = self._decode(delivery)
        if context is None:
            return
        with self.refusals.handling(context):
            self._check_duplicate(context)
            self._check_target(context)
            self._check_fresh(context)
            self.authorizer.authorize_action(context)
            self.orders.check_frozen(context)
            self._write_to_journal(context)
            self._process(context)

    def _process(self, context: RequestContext) -> None:
        """Do the steps of every request that is in the journal: new ones and resumed ones."""
        self.admission.read_filter(context)
        self.authorizer.authorize_queries(context)
        if uses_data(context.filter):
            self.scheduler.submit_filter(context)
            return
        self.admission.check_filter(context)
        admitted = self.admission.check_input(context)
        self.scheduler.submit(admitted)

    def _decode(self, delivery: Delivery) -> RequestContext | None:
        try:
            context = self._decode_or_answer(delivery)
        except MessageError as error:
            self.refusals.drop(error)
            return None
        except Exception:
            self.statistics.requests.add(Reason.INTERNAL_ERROR.counter)
            raise
        self.statistics.requests.add("validated" if context else Reason.UNVALIDATED.counter)
        return context

    def _decode_or_answer(self, delivery: Delivery) -> RequestContext | None:
        """Return the context of a request; answer one in an older format, and return None."""
        try:
            return self.decoder.decode(delivery, self.state.plugins)
        except WrongVersion as error:
            self.older_callers.answer(delivery, error.version)
            return None

    def _check_duplicate(self, context: RequestContext) -> None:
        with _using_journal():
            first = self.journal.find(context.request.id)
        if first is None:
            return
        if not self.duplicates.add(context.digest):
            raise Refused(Reason.DUPLICATE_LIMIT)
        if (first.digest, first.caller) != (context.digest, context.request.caller):
            log.warning("request.id_reused", extra={"request": context.request.id, "caller": context.request.caller})
            raise Refused(Reason.ID_REUSED, "another request has the same id")
        if not first.reply:
            raise Refused(Reason.DUPLICATE_WITHOUT_REPLY)
        context.first = first
        raise Refused(Reason.DUPLICATE)

    def _check_target(self, context: RequestContext) -> None:
        targets = context.request.targets
        if targets is not None and self.state.identity not in targets:
            raise Refused(Reason.ELSEWHERE)

    def _write_to_journal(self, context: RequestContext) -> None:
        request, delivery = context.request, context.delivery
        entry = JournalEntry(
            id=request.id,
            digest=context.digest,
            caller=request.caller,
            state=TAKEN,
            sent=delivery.sent,
            until=context.deadline,
            expires=context.expires,
            reply_to=request.reply_to,
            keeps_reply=not self._only_reads(context),
            resumed=0,
            body=delivery.body,
            reply="",
        )
        with _using_journal():
            self.journal.begin(entry, delivery.received, secret=context.has_secrets)
        context.journaled = True

    def _only_reads(self, context: RequestContext) -> bool:
        """Return whether the action changes nothing, so that its reply need not be kept once it has been sent.

        Replies with pieces of large files would otherwise fill the caller's share of the journal.
        """
        request = context.request
        action = context.plugins.agents.action(request.agent, request.action)
        return request.agent == RPCUTIL or (action is not None and action.read_only)

    def _check_fresh(self, context: RequestContext) -> None:
        request, sent = context.request, context.delivery.sent
        if context.age > request.ttl:
            error = f"it arrived after {context.age:.0f} s and was valid for {request.ttl:.0f} s"
        elif abs(context.skew) > MAX_SKEW:
            error = f"the caller's clock is {context.skew:+.0f} s off, the limit is {MAX_SKEW:.0f} s (set the clock)"
        elif context.delivery.received > context.expires:
            # The signed time counts too: a captured message that is sent again has a new time of sending.
            error = (
                f"it was signed {context.delivery.received - request.time:.0f} s ago and was valid for "
                f"{request.ttl:.0f} s ({MAX_SKEW:.0f} s are allowed for clocks that differ)"
            )
        elif self._precedes_journal(sent, request.time):
            error = (
                "it may have run before this node's journal began (a node that has lost its journal waits 5 minutes)"
            )
        else:
            return
        raise Refused(Reason.EXPIRED, f"the request has expired: {error}")

    def _precedes_journal(self, sent: float, signed: float) -> bool:
        with _using_journal():
            return self.journal.too_early(sent, signed)

    # Requests of an earlier daemon

    def resume(self, now: Callable[[], float], stopping: Callable[[], bool]) -> None:
        """Process the requests in the journal that an earlier daemon has not answered.

        `now` returns the server's time in Unix seconds, `stopping` whether the node is being stopped.
        """
        unanswered: list[str] = []
        with noting():
            unanswered = [*self.journal.left(STARTED), *self.journal.left(TAKEN)]
        for request_id in unanswered:
            try:
                with noting():
                    self._resume(request_id, now())
            except Exception:
                log.exception("node.internal_error", extra={"request": request_id})
                if not stopping():
                    with noting():
                        self.journal.done(request_id)  # or it would end every following daemon as well

    def _resume(self, request_id: str, now: float) -> None:
        entry = self.journal.find(request_id)
        assert entry is not None  # noqa: S101 - entries without a reply are never dropped
        self.statistics.requests.add("resumed")
        log.info("request.resumed", extra={"request": request_id, "state": entry.state})
        self.journal.resume(request_id)
        context = self._decode(Delivery(entry.body, entry.sent, received=now, receipt=""))
        if context is None:  # it was valid when it arrived, but keys and versions change
            self.journal.done(request_id)
            return
        context.journaled = True
        with self.refusals.handling(context):
            if entry.state == STARTED:
                raise Refused(Reason.INTERRUPTED, "the node stopped before it could note how the action ended")
            if entry.resumed >= MOST_RESUMED:
                raise Refused(Reason.GIVEN_UP, f"the node stopped {entry.resumed + 1} times while it had this request")
            self._check_fresh(context)
            self.authorizer.authorize_action(context)
            self.orders.check_frozen(context)
            self._process(context)


@contextmanager
def _using_journal() -> Iterator[None]:
    """Refuse the request if the journal cannot be used: what cannot be remembered must not run."""
    try:
        yield
    except Failed as error:
        raise Refused(Reason.JOURNAL_UNAVAILABLE, str(error)) from None
