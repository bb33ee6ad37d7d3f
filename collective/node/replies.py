"""The last step of the line: audit the outcome, remember the answer, sign it and send it.

A reply that cannot be sent is tried again for as long as its caller may wait for it.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace

from collective import messages, signing
from collective.errors import Failed, MessageError, MessageTooLarge, QueueNotFound, TransportError
from collective.messages import Reply, Request
from collective.node.audit import Audit
from collective.node.counts import Counts
from collective.node.journal import Journal
from collective.node.keeper import Answer
from collective.transport import Transport

log = logging.getLogger(__name__)

_LONGEST_PAUSE = 30.0  # seconds between tries when the transport is away


class Replies:
    """Sends this node's replies; any number of threads may use it."""

    def __init__(
        self,
        identity: str,
        transport: Transport,
        sign: signing.Sign,
        audit: Audit,
        journal: Journal,
        counts: Counts,
    ) -> None:
        self._identity = identity
        self._transport = transport
        self._sign = sign
        self._audit = audit
        self._journal = journal
        self._counts = counts
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Give up replies that wait for the transport to come back."""
        self._stopping.set()

    def conclude(self, request: Request, answer: Answer, elapsed: float, deadline: float) -> None:
        """Answer a request for the first time. `elapsed` is seconds, `deadline` on the server's clock."""
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
        self._note(reply)
        self._journal.finish(request.id, reply)
        self._send(request, reply, deadline)
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

    def repeat(self, request: Request, reply: Reply, deadline: float) -> None:
        """Send the stored answer of a request that has come again."""
        again = replace(reply, replayed=True)
        self._note(again)
        self._send(request, again, deadline)

    def _note(self, reply: Reply) -> None:
        """Audit an outcome; when that cannot be written, the reply leaves all the same."""
        try:
            self._audit.outcome(reply)
        except Failed as fault:
            log.error("audit.failed", extra={"fault": str(fault)})

    def _send(self, request: Request, reply: Reply, deadline: float) -> None:
        try:
            body = self._seal(reply)
        except MessageError as fault:
            body = self._seal(_instead(reply, f"the reply cannot be carried: {fault}"))
        pause = 1.0
        while True:
            try:
                self._transport.send(request.reply_to, body)
            except MessageTooLarge as fault:
                text = f"the reply of {fault.size} bytes is more than the {fault.limit} that are carried"
                body = self._seal(_instead(reply, text))
            except QueueNotFound:
                self._counts.add("unwanted")  # the caller has gone, and its queue with it
                return
            except TransportError as fault:
                if self._transport.now() + pause > deadline or self._stopping.wait(pause):
                    self._counts.add("lost")
                    log.warning("reply.lost", extra={"request": request.id, "fault": str(fault)})
                    return
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._counts.add("replies")
                return

    def _seal(self, reply: Reply) -> str:
        return messages.seal(messages.encode(reply), self._sign)


def _instead(reply: Reply, text: str) -> Reply:
    """Return the reply that says why `reply` itself does not arrive."""
    return replace(reply, statuscode=5, statusmsg=text, reason="crashed", data={})
