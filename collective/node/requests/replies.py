"""The last step of the line: audit the outcome, remember the answer, sign it and send it.

    conclude ─► audit ─► journal ─► send ──► done
    repeat ──────────────────────► send ─┐
       ▲                                 ▼ the transport is away
       └────────── resend ◄────── deferred: tried again for as long as somebody may wait for it

A thread of its own tries again, so that no other waits for a transport that is away. What a daemon leaves unsent
the next one sends.
"""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import replace

from collective import messages, signing
from collective.errors import Failed, MessageError, TransportError, Unreachable
from collective.messages import Reply, Request
from collective.node.actions.monitor import ActionResult
from collective.node.backoff import backoff
from collective.node.requests.counters import Counters
from collective.node.storage.audit_log import AuditLog
from collective.node.storage.journal import ANSWERED, Journal, JournalEntry, noting
from collective.transport import SEND_LIMIT, Transport

log = logging.getLogger(__name__)

_LAST_TRY = 5.0  # seconds that a stop waits for a try that is under way: where packets vanish, one takes minutes
_SIGNATURE = 1024  # bytes that a signature of a node's key, Ed25519, stays below


class Replies:
    """Sends this node's replies; any number of threads may use it."""

    def __init__(
        self,
        identity: str,
        transport: Transport,
        sign: signing.SignPayload,
        audit: AuditLog,
        journal: Journal,
        counts: Counters,
    ) -> None:
        self._identity = identity
        self._transport = transport
        self._sign = sign
        self._audit = audit
        self._journal = journal
        self._counts = counts
        self._deferred: dict[str, None] = {}  # ids of answers that the journal keeps for resend, in order
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="resend", daemon=True)

    def start(self) -> None:
        """Send what an earlier daemon left unsent, and from now on again what could not be sent."""
        self.recall()
        self._thread.start()

    def recall(self) -> None:
        """Find what an earlier daemon left unsent."""
        with noting():
            for request_id in self._journal.left(ANSWERED):
                self._defer(request_id)

    def stop(self) -> None:
        """Try no longer; what is unsent stays in the journal, for the next daemon."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(_LAST_TRY)

    def conclude(self, request: Request, answer: ActionResult, elapsed: float) -> None:
        """Answer a request for the first time. `elapsed` is seconds."""
        reply = Reply(
            request=request.id,
            sender=self._identity,
            agent=request.agent,
            action=request.action,
            statuscode=answer.statuscode,
            statusmsg=answer.statusmsg,
            reason=answer.reason,
            data=answer.data,
            time=self._transport.now(),
            elapsed_ms=round(elapsed * 1000, 1),
        )
        reply, payload = _carried(reply)
        self._note(reply)
        self._keep(request.id, payload)
        self._send(request.id, request.reply_to, payload)
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
        """Send the stored answer of a request that has come again, to whoever asked first."""
        again = replace(_stored(entry.reply), replayed=True)
        self._note(again)
        self._send(entry.id, entry.reply_to, messages.encode(again))

    def resend(self) -> bool:
        """Try once to send what could not be sent; return whether nothing is left of it."""
        with self._changed:
            waiting = list(self._deferred)
        for request_id in waiting:
            try:
                self._try_again(request_id)
            except Unreachable:
                return False  # for all of them
            except TransportError:
                continue  # for this one's queue; one that was just made may be unknown for a second (CreateQueue)
            with self._changed:
                self._deferred.pop(request_id, None)
        with self._changed:
            return not self._deferred

    # -- small parts

    def _note(self, reply: Reply) -> None:
        """Audit an outcome; when that cannot be written, the reply leaves all the same."""
        try:
            self._audit.outcome(reply)
        except Failed as error:
            log.error("audit.failed", extra={"error": str(error)})

    def _keep(self, request_id: str, payload: str) -> None:
        with noting():
            self._journal.finish(request_id, payload)

    def _send(self, request_id: str, queue: str, payload: str) -> None:
        """Send a payload, or have it sent later."""
        try:
            self._send_now(request_id, queue, payload)
        except TransportError as error:
            self._counts.add("deferred")
            log.warning("reply.deferred", extra={"request": request_id, "error": str(error)})
            self._defer(request_id)

    def _send_now(self, request_id: str, queue: str, payload: str) -> None:
        """Send a payload; raise TransportError when it may go another time."""
        self._transport.send(queue, messages.seal(payload, self._sign))
        self._counts.add("replies")
        with noting():
            self._journal.done(request_id)

    def _defer(self, request_id: str) -> None:
        with self._changed:
            self._deferred[request_id] = None
            self._changed.notify_all()

    def _try_again(self, request_id: str) -> None:
        with noting():
            entry = self._journal.find(request_id)
            if entry is not None and entry.state != ANSWERED:
                return  # a repetition: the first answer is on its way
            if entry is None or entry.until < self._transport.now():
                self._counts.add("lost")
                error = "its caller has left" if entry else "the journal did not keep it"
                log.warning("reply.lost", extra={"request": request_id, "error": error})
                self._journal.done(request_id)
                return
            self._send_now(request_id, entry.reply_to, entry.reply)

    def _run(self) -> None:
        tries = backoff()
        while not self._stopping.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self._deferred or self._stopping.is_set())
            if self.resend():
                tries = backoff()
            self._stopping.wait(next(tries))


def _stored(payload: str) -> Reply:
    return messages.decode_reply(json.loads(payload))


def _carried(reply: Reply) -> tuple[Reply, str]:
    """Return a reply and its payload; of one that no queue carries, the reply that says so."""
    try:
        payload = messages.encode(reply)
    except MessageError as error:
        return _instead(reply, f"the reply cannot be carried: {error}")
    # Sealing compresses: only what may be too large even so is worth the look.
    size = len(messages.seal(payload, lambda _: None)) + _SIGNATURE if len(payload) > SEND_LIMIT // 2 else 0
    if size > SEND_LIMIT:
        return _instead(reply, f"the reply of {size} bytes is more than the {SEND_LIMIT} that are carried")
    return reply, payload


def _instead(reply: Reply, text: str) -> tuple[Reply, str]:
    """Return the reply that says why `reply` itself does not arrive, and its payload."""
    instead = replace(reply, statuscode=5, statusmsg=text, reason="crashed", data={})
    return instead, messages.encode(instead)
