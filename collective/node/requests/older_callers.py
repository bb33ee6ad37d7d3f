"""Answer callers whose version of collective uses an older message format, so that they see why nothing happens.

Their requests are never carried out: an older signature does not cover the account and region, and an older reply does
not name the request's digest. Only a request with a valid signature is answered, in the format of its caller.
"""

from __future__ import annotations

import logging

from collective import messages, signing
from collective.errors import MessageError, TransportError
from collective.log_limiter import LogLimiter
from collective.messages import Reply, Request
from collective.node.requests.refusal_budget import RefusalBudget
from collective.node.requests.request_decoder import RequestDecoder
from collective.transport import Delivery, Transport
from collective.version import __version__

log = logging.getLogger(__name__)

OLDEST = 1  # the oldest format that is answered
REASON = "version"


class OlderCallers:
    """Answers requests in an older format, for one thread."""

    def __init__(
        self,
        identity: str,
        transport: Transport,
        decoder: RequestDecoder,
        sign: signing.SignPayload,
        budget: RefusalBudget,
    ) -> None:
        self._identity = identity
        self._transport = transport
        self._decoder = decoder
        self._sign = sign
        self._budget = budget
        self._log_limiter = LogLimiter()

    def answer(self, delivery: Delivery, version: int) -> None:
        """Answer a request in the format `version`. Raise MessageError if it is not a valid request to this node."""
        if not OLDEST <= version < messages.VERSION:
            raise MessageError(f"envelope: message format {version} is not supported")
        envelope = messages.unseal(delivery.body, version)
        here = self._transport.installation  # their requests do not have it
        request = messages.decode_request({**envelope.content, "installation": here})
        self._decoder.check(request, envelope, delivery.sent)
        if self._log_limiter.allows():
            extra = {"caller": request.caller, "sender": request.sender, "format": version}
            log.warning("caller.older_version", extra=extra)
        if not self._budget.exceeded(request.caller):
            self._send(request, envelope.digest, version)

    def _send(self, request: Request, digest: str, version: int) -> None:
        message = (
            f"this node runs collective {__version__}, which does not support the message format {version} of this "
            f"caller (upgrade the caller to {messages.SINCE} or later)"
        )
        reply = Reply(
            request=request.id,
            digest=digest,
            sender=self._identity,
            agent=request.agent,
            action=request.action,
            statuscode=5,
            statusmsg=message,
            reason=REASON,
            data={},
            time=self._transport.now(),
            elapsed_ms=0.0,
        )
        body = messages.seal(messages.encode(reply), self._sign, version)
        try:
            self._transport.send(request.reply_to, body)
        except TransportError as error:
            log.warning("reply.lost", extra={"request": request.id, "error": str(error)})
