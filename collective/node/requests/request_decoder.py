"""Decode a delivered message, and verify that it is a signed request to this collective.

envelope ─ schema ─ signature ─ collective ─ installation ─ reply queue ─► RequestContext
"""

from __future__ import annotations

from collective import messages, names, signing
from collective.errors import MessageError
from collective.messages import Envelope, Request
from collective.node.plugins.plugin_set import Plugins
from collective.node.requests.context import RequestContext
from collective.transport import Delivery, Transport


class RequestDecoder:
    """Decodes the messages that are sent to a node of one collective."""

    def __init__(self, collective: str, transport: Transport, verify: signing.VerifyPayload) -> None:
        self._collective = collective
        self._transport = transport
        self._verify = verify

    def decode(self, delivery: Delivery, plugins: Plugins) -> RequestContext:
        """Return the context of a request that is checked against `plugins`; raise MessageError for anything else."""
        envelope = messages.unseal(delivery.body)
        request = messages.decode_request(envelope.content)
        fingerprint = self.check(request, envelope, delivery.sent)
        return RequestContext(delivery, envelope, request, plugins, fingerprint)

    def check(self, request: Request, envelope: Envelope, sent: float) -> str | None:
        """Return the fingerprint of the signing key; raise MessageError for a request that is not for this node.

        `sent` is in Unix seconds. Only a request that passes is answered, audited or recorded.
        """
        fingerprint = self._verify(envelope.payload, envelope.signature, request.caller, sent)
        if request.collective != self._collective:
            raise MessageError(f"request: for another collective, '{request.collective}'")
        if request.installation != (here := self._transport.installation):
            raise MessageError(f"request: for the installation '{request.installation}', this one is '{here}'")
        if not names.is_reply_queue(request.reply_to, self._collective):
            raise MessageError(f"request: '{request.reply_to}' is not a reply queue of this collective")
        return fingerprint
