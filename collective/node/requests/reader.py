"""Read a delivered message: decode it, and verify that it is a signed request to this collective.

envelope ─ schema ─ signature ─ collective ─ reply queue ─► RequestContext
"""

from __future__ import annotations

from collective import messages, names, signing
from collective.errors import MessageError
from collective.node.plugins.plugin_set import Plugins
from collective.node.requests.context import RequestContext
from collective.transport import Delivery


class RequestReader:
    """Reads the messages that are sent to a node of one collective."""

    def __init__(self, collective: str, verify: signing.VerifyPayload) -> None:
        self._collective = collective
        self._verify = verify

    def read(self, delivery: Delivery, plugins: Plugins) -> RequestContext:
        """Return the context of a request that is checked against `plugins`; raise MessageError for anything else."""
        envelope = messages.unseal(delivery.body)
        request = messages.decode_request(envelope.content)
        fingerprint = self._verify(envelope.payload, envelope.signature, request.caller, delivery.sent)
        if request.collective != self._collective:
            raise MessageError(f"request: for another collective, '{request.collective}'")
        if not names.is_reply_queue(request.reply_to, self._collective):
            raise MessageError(f"request: '{request.reply_to}' is not a reply queue of this collective")
        return RequestContext(delivery, envelope, request, plugins, fingerprint)
