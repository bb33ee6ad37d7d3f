"""Reply to a request: audit the outcome, store the reply in the journal, sign it and send it.

    conclude ─► audit ─► journal ─► send ──► done
    repeat ──────────────────────► send ─┐
       ▲                                 ▼ the transport is unreachable
       └────────── resend ◄────── deferred: retried until the caller has timed out

A thread of its own resends, so that no other thread waits for a transport that is unreachable. The next daemon sends
what this one could not send.
"""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import replace

from collective import messages, signing
from collective.errors import Failed, MessageError, TransportError, Unreachable
from collective.messages import Reply
from collective.node.actions.job import CRASHED, ActionResult
from collective.node.backoff import backoff
from collective.node.requests.context import RequestContext
from collective.node.requests.counters import Counters
from collective.node.storage.audit_log import AuditLog
from collective.node.storage.journal import ANSWERED, Journal, JournalEntry, noting
from collective.periodic import PeriodicThread
from collective.transport import SEND_LIMIT, Transport

log = logging.getLogger(__name__)

_LAST_TRY = 5.0  # seconds that a stop waits for a running attempt to send, which takes minutes if packets are lost
_LOOK = 60.0  # seconds between looks for deferred replies; a new one wakes the thread
_SIGNATURE = 1024  # bytes; a signature made with a node's key (Ed25519) is smaller


class Replies:
    """Sends this node's replies; safe for any number of threads."""

    def __init__(
        self,
        identity: str,
        transport: Transport,
        sign: signing.SignPayload,
        audit: AuditLog,
        journal: Journal,
        counters: Counters,
    ) -> None:
        self._identity = identity
        self._transport = transport
        self._sign = sign
        self._audit = audit
        self._journal = journal
        self._counters = counters
        self._deferred: dict[str, None] = {}  # ids of the requests whose replies must be sent again, in order
        self._lock = threading.Lock()
        self._pauses = backoff()
        self._resender = PeriodicThread("resend", self._resend, _LOOK)

    def start(self) -> None:
        """Send what an earlier daemon could not send, and from now on send deferred replies again."""
        self.recall()
        self._resender.start()

    def recall(self) -> None:
        """Find the replies that an earlier daemon could not send."""
        with noting():
            for request_id in self._journal.left(ANSWERED):
                self._defer(request_id)

    def stop(self) -> None:
        """Stop resending; deferred replies stay in the journal for the next daemon."""
        self._resender.stop(_LAST_TRY)

    def conclude(self, context: RequestContext, result: ActionResult, elapsed: float) -> None:
        """Reply to a request for the first time. `elapsed` is in seconds."""
        request = context.request
        reply = Reply(
            request=request.id,
            digest=context.digest,
            sender=self._identity,
            agent=request.agent,
            action=request.action,
            statuscode=result.statuscode,
            statusmsg=result.statusmsg,
            reason=result.reason,
            data=result.data,
            time=self._transport.now(),
            elapsed_ms=round(elapsed * 1000, 1),
        )
        reply, payload = _encoded(reply)
        self._audit_outcome(reply)
        if context.journaled:
            with noting():
                self._journal.finish(request.id, payload)
            self._send(request.id, request.reply_to, payload)
        else:
            self._send_once(request.id, request.reply_to, payload)
        log.info(
            "request.handled",
            extra={
                "request": request.id,
                "caller": request.caller,
                "agent": request.agent,
                "action": request.action,
                "statuscode": reply.statuscode,
                "reason": reply.reason,
                "elapsed_ms": reply.elapsed_ms,
            },
        )

    def repeat(self, entry: JournalEntry) -> None:
        """Send the stored reply of a duplicate request again, to the reply queue of the first delivery."""
        again = replace(messages.decode_reply(json.loads(entry.reply)), replayed=True)
        self._audit_outcome(again)
        self._send(entry.id, entry.reply_to, messages.encode(again))

    def resend(self) -> bool:
        """Try once to send every deferred reply; return whether none is left."""
        with self._lock:
            waiting = list(self._deferred)
        for request_id in waiting:
            try:
                self._try_again(request_id)
            except Unreachable:
                return False  # no other reply can be sent either
            except TransportError:
                continue  # this queue only: SQS may not know a new queue for a second (CreateQueue)
            with self._lock:
                self._deferred.pop(request_id, None)
        with self._lock:
            return not self._deferred

    def _audit_outcome(self, reply: Reply) -> None:
        """Audit an outcome; the reply is sent even if that cannot be written."""
        try:
            self._audit.outcome(reply)
        except Failed as error:
            log.error("audit.failed", extra={"error": str(error)})

    def _send_once(self, request_id: str, queue: str, payload: str) -> None:
        """Send a reply that the journal does not have, to a request that was refused."""
        try:
            self._transport.send(queue, messages.seal(payload, self._sign))
        except TransportError as error:
            self._counters.add("lost")
            log.warning("reply.lost", extra={"request": request_id, "error": str(error)})
        else:
            self._counters.add("replies")

    def _send(self, request_id: str, queue: str, payload: str) -> None:
        """Send a reply, or defer it."""
        try:
            self._send_now(request_id, queue, payload)
        except TransportError as error:
            self._counters.add("deferred")
            log.warning("reply.deferred", extra={"request": request_id, "error": str(error)})
            self._defer(request_id)

    def _send_now(self, request_id: str, queue: str, payload: str) -> None:
        """Send a reply; raise TransportError if it can be sent later."""
        self._transport.send(queue, messages.seal(payload, self._sign))
        self._counters.add("replies")
        with noting():
            self._journal.done(request_id)

    def _defer(self, request_id: str) -> None:
        with self._lock:
            first = not self._deferred
            self._deferred[request_id] = None
        if first:  # the others wait for the end of the pause
            self._resender.wake()

    def _try_again(self, request_id: str) -> None:
        with noting():
            entry = self._journal.find(request_id)
            if entry is not None and entry.state != ANSWERED:
                return  # a duplicate: its first reply has been sent
            if entry is None or entry.until < self._transport.now():
                self._counters.add("lost")
                error = "the caller has timed out" if entry else "the journal could not store it"
                log.warning("reply.lost", extra={"request": request_id, "error": error})
                self._journal.done(request_id)
                return
            self._send_now(request_id, entry.reply_to, entry.reply)

    def _resend(self) -> float | None:
        """Resend, and return the seconds until the next attempt; None if nothing is left."""
        if self.resend():
            self._pauses = backoff()
            return None
        return next(self._pauses)


def _encoded(reply: Reply) -> tuple[Reply, str]:
    """Return a reply and its payload; if it cannot be sent, the reply that says why."""
    try:
        payload = messages.encode(reply)
    except MessageError as error:
        return _replacement(reply, f"the reply cannot be sent: {error}")
    # Sealing compresses, so only a payload that may be too large after all is worth sealing to find out.
    size = len(messages.seal(payload, lambda _: None)) + _SIGNATURE if len(payload) > SEND_LIMIT // 2 else 0
    if size > SEND_LIMIT:
        return _replacement(reply, f"the reply has {size} bytes, more than the limit of {SEND_LIMIT} bytes")
    return reply, payload


def _replacement(reply: Reply, error: str) -> tuple[Reply, str]:
    """Return the reply that is sent in place of `reply`, and its payload."""
    replacement = replace(reply, statuscode=5, statusmsg=error, reason=CRASHED, data={})
    return replacement, messages.encode(replacement)
